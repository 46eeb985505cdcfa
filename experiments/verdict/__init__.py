"""What a run must show, and whether its measurement can be trusted."""
