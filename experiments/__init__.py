"""What is measured: specs, clusters brought up, events, probes and results."""
