"""launcher: one job file, the same training run on a laptop, a server or a cluster."""

__version__ = "0.1.0"
