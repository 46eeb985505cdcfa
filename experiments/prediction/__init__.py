"""What a spec will do to its connections, without a cluster."""
