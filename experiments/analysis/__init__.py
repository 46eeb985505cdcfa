"""The analysis of a run: from its record to the outcome of every connection. Pure."""
