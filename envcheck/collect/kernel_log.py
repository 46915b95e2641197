"""The kernel's log, of which only the lines about GPUs are kept.

Inside a container the log is usually not readable. Then "no Xid" is not known, and must not be reported as good news.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcheck.machine import Absent
from envcheck.sections.gpus import KernelLog

if TYPE_CHECKING:
    from envcheck.machine import Machine

ABOUT_GPUS = re.compile(r"NVRM|nvidia|request_free_mem_region", re.IGNORECASE)
NEWEST = 200


def collect(machine: Machine) -> KernelLog:
    answer = machine.run(["dmesg"], 4)
    if answer.returncode != 0:
        raise Absent((answer.stderr.strip() or f"dmesg ended with {answer.returncode}").splitlines()[-1])
    return KernelLog(tuple(line for line in answer.stdout.splitlines() if ABOUT_GPUS.search(line))[-NEWEST:])
