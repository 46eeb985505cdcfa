"""The ladder diagram of one connection's reset: as data, as text and as SVG."""
