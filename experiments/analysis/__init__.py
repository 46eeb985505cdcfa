"""From what the instruments saw to what became of every connection: pure."""
