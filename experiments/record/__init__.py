"""What a run leaves to be analysed: its record, and the formats of its parts."""
