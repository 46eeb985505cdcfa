"""The benchmark: this testbed settings_of_kinds its references, in one run, on one machine."""
