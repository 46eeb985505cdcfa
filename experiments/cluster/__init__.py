"""A running cluster: how it is entered, kept alive, spoken to and shown."""
