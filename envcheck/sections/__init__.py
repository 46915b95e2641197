"""The table of sections that facts may hold: name, the record it is, and the tier whose collection fills it."""

from envcheck.sections.gpus import Driver, Gpus
from envcheck.sections.host import Environment, Host, Python
from envcheck.sections.need import Need
from envcheck.sections.torch import Torch

SECTIONS = {
    "need": Need,
    "host": Host,
    "python": Python,
    "environment": Environment,
    "driver": Driver,
    "gpus": Gpus,
    "torch": Torch,
}

TIERS = {"torch": "torch", "collective": "collective", "cluster": "cluster"}
"""The tier a section belongs to where that is not `static`."""
