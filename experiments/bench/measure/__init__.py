"""How the benchmark measures: load generators, reset waves, waiting."""
