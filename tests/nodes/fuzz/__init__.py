"""The guard in the kernel on packets at random, held against the decision table."""
