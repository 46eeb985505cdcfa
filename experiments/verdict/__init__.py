"""What a run must show, and whether its measurement is reliable."""
