"""The cluster's network: its plan, Mininet topology, switches and sandbox."""
