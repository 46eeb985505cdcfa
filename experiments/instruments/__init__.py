"""What watches a run: captures of the wire and probes of every kernel's sockets."""
