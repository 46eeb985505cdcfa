"""A run's results: from its record to figures, verdict and folder, and back."""
