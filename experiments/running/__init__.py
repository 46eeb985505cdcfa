"""Runs an experiment or a cluster in its sandbox."""
