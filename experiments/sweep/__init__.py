"""Many runs as one experiment: a suite of specs, run in random order, resumable."""
