"""Results as tables and text for a terminal."""
