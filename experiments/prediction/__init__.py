"""What a spec does to its connections, computed without a cluster."""
