"""Storage servers, and how they are started on many nodes."""
