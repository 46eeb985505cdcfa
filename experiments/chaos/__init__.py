"""Chaos: random events and failures on a live cluster, judged by invariants all the time."""
