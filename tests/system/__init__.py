"""The whole testbed through its command line, as its users and their scripts see it."""
