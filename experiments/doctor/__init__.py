"""The doctor: checks the requirements of the testbed on this machine."""
