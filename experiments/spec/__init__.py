"""The spec of an experiment: its model, and the reader of its YAML file."""
