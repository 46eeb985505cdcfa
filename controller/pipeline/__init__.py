"""What every switch should have, as pure functions of a cluster's state."""
