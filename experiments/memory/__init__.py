"""What a half-open connection costs in memory: in each server, and in the kernel."""
