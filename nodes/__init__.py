"""What the hosts run: TCP segments, the guard of a node, storage servers and clients."""
