"""What this machine has and lacks for the testbed, found by trying."""
