"""One experiment or cluster from the command to its sandbox."""
