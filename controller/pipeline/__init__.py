"""The flow entries of every switch, as pure functions of a cluster's state."""
