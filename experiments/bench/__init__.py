"""The benchmark: this testbed beside its references, in one run, on one machine."""
