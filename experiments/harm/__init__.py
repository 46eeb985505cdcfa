"""What half-open connections hold: locks and sessions whose client has gone."""
