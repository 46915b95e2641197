"""Fault injection into the checkpoint protocol: every file call, every kind of failure."""
