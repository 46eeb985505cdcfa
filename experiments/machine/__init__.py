"""This machine: tools, packages, limits, and the provenance of a run."""
