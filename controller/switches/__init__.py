"""How switches are spoken to: OpenFlow under os-ken or Ryu, sessions, settling."""
