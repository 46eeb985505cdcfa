"""Storage clients: they write, read back, are reset, reconnect and lose nothing."""
