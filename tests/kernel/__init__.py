"""The project on a distribution's own kernel, in a virtual machine: tests and commands.

``./resetbed test --kernel debian-12`` hands over to this package. It needs no more than
the interpreter of the system and the packages under ``kernel_packages`` in setup.cfg.
"""
