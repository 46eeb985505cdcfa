"""Random histories of a whole cluster in memory, judged by what must never happen."""
