"""Backends: how node programs reach their nodes. One module a backend."""
