"""Lightning's side of a run: its Trainer keeps its loop, and gets launcher's data order, checkpoints, stop and events.

A user's module comes from `lightning.pytorch` or from `pytorch_lightning`, which are two sets of classes; everything
that is handed to the Trainer is made from the set that the module belongs to (`Flavour`).
"""
