"""A cluster's plan in the formats of other tools."""
