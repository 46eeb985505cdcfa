"""The guard of a storage node: it resets connections that the node does not know."""
