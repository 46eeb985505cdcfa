"""Stand-alone programs that the benchmark runs on hosts: standard library only."""
