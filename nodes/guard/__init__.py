"""The guard of a storage node: judges segments of unknown connections, and resets."""
