"""Sweeps: all runs of a suite, in random order, resumable."""
