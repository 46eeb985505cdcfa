"""Tests of the model: a cluster computed instead of emulated."""
