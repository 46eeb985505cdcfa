"""A cluster computed instead of emulated: from one rack to the size of the internet."""
