"""The benchmark: this testbed and its references, in one run, on one machine."""
