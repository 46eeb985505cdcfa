"""The report: one page that needs no network, and its plots for papers."""
