"""One process of a run is killed at a random instant, and its end is judged."""
