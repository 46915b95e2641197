"""Ignite's side of a run: the engine keeps its loop, and gets launcher's data order, checkpoints, stop and events."""
