"""Tests of the controller: its decisions without root, then with a real switch."""
