"""Tasks on many machines: placed, sent, watched, and their files brought back whole."""
