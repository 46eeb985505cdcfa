"""Flow entries as plain data, and the definitions for both tiers' tables."""
