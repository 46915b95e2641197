"""launcher: one job file, the same training run on a laptop, a server or a cluster."""

from launcher.task import Task

__all__ = ["Task", "__version__"]
__version__ = "0.1.0"
