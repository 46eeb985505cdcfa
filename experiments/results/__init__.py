"""From a run's record to its figures, its verdict and its folder; and back."""
