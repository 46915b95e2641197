"""The table of sections that facts may hold: name, the record it is, and the tier whose collection fills it."""

from envcheck.sections.cluster import Cluster
from envcheck.sections.collective import Collective
from envcheck.sections.container import Cgroup, Limits, Process
from envcheck.sections.gpus import Driver, Engine, Gpus, KernelLog, Pci
from envcheck.sections.host import Environment, Host, Python
from envcheck.sections.libraries import Expectation, Job, Libraries, Packages
from envcheck.sections.need import Need
from envcheck.sections.network import Names, Network, Rendezvous
from envcheck.sections.storage import Storage
from envcheck.sections.torch import Torch

SECTIONS = {
    "need": Need,
    "host": Host,
    "python": Python,
    "environment": Environment,
    "driver": Driver,
    "gpus": Gpus,
    "pci": Pci,
    "kernel_log": KernelLog,
    "engine": Engine,
    "packages": Packages,
    "libraries": Libraries,
    "job": Job,
    "expectation": Expectation,
    "limits": Limits,
    "cgroup": Cgroup,
    "process": Process,
    "storage": Storage,
    "network": Network,
    "names": Names,
    "rendezvous": Rendezvous,
    "torch": Torch,
    "collective": Collective,
    "cluster": Cluster,
}

TIERS = {"torch": "torch", "expectation": "expectation", "collective": "collective", "cluster": "cluster"}
"""The tier a section belongs to where that is not `static`."""
