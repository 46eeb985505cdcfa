"""Tests of the controller: its decisions without root, then under a real switch."""
