"""What one experiment is: the model behind a YAML file, and how it is read."""
