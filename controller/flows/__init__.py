"""Flow entries as plain data, and the vocabulary of both tiers' tables."""
