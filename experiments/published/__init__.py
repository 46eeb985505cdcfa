"""What others published about connections that break, and our figures for the same."""
