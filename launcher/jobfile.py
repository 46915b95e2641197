"""Reads a job file: every fault at once, each with its place and remedy."""
