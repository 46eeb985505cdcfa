"""Forged segments against live connections: what is sent, and the program that does it."""
