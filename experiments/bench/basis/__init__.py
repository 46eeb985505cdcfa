"""What the benchmark is made of: sizes, settings, figures, fits, and the machine's load."""
