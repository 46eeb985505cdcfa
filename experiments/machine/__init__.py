"""What a run stands on: what this machine has, lacks and was at the time."""
