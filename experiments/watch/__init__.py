"""A live view of a running cluster: what is seen, and where it is shown."""
