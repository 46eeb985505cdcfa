"""What is wired: the plan of a cluster, its Mininet topology, switches and sandbox."""
