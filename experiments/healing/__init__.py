"""Healing: frees every half-open connection within a bound, whatever packets were lost."""
