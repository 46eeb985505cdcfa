"""The report: a self-contained HTML page, and its plots as files."""
