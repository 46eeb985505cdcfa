"""Parts of the benchmark: sizes, settings, figures, fits, load of the machine."""
