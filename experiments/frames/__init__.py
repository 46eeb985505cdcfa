"""What runs left, as data frames."""
