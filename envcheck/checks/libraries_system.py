"""What lies under the libraries: the C library, the kernel, the encoding, and files that hide modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.check import Outcome, Status, check, unknown, warn
from envcheck.versions import at_least

if TYPE_CHECKING:
    from envcheck.sections.host import Host, Python

OLDEST_GLIBC = "2.28"
"""Of the manylinux_2_28 wheels, torch's own from 2.6 on."""
OLDEST_KERNEL = "5.5"


@check(
    "LIB015",
    remedy="run inside the image, or on a system from Debian 10, Ubuntu 20.04, RHEL 8 on",
    modes=("F47",),
)
def c_library_is_recent_enough(host: Host) -> Outcome:
    """The C library is recent enough for the wheels.

    pip then finds "no matching distribution", or an old one without GPU support.
    """
    if host.glibc is None:
        return unknown("the C library does not tell its version (not glibc: torch has no wheels for it)")
    return None if at_least(host.glibc, OLDEST_GLIBC) else f"glibc is {host.glibc}, the wheels need {OLDEST_GLIBC}"


@check("LIB017", remedy="mv {name} my_{name}; rm -rf __pycache__", severity=Status.WARN, modes=("F49",))
def no_file_hides_a_module(python: Python) -> Outcome:
    """No file of the job's folder has the name of a module that Python or torch needs.

    A `random.py` beside the script is imported in place of Python's own, by every library too.
    """
    if python.shadows:
        return warn(f"in the job's folder: {', '.join(python.shadows)}", name=python.shadows[0])
    return None


@check("LIB018", remedy="export LC_ALL=C.UTF-8 PYTHONUTF8=1", severity=Status.WARN, modes=("F50",))
def text_is_utf8(python: Python) -> Outcome:
    """Python reads and writes UTF-8 unless told otherwise.

    Under another locale a name with an accent in a path or a log line ends the job with UnicodeEncodeError.
    """
    if python.encoding.replace("-", "") in ("utf8", "utf_8"):
        return None
    return f"the preferred encoding is {python.encoding}"


@check("LIB019", remedy="upgrade the host's kernel to 5.5 or later", severity=Status.WARN, modes=("F51",))
def kernel_is_recent_enough(host: Host) -> Outcome:
    """The kernel is not one with which training is known to hang (before 5.5).

    Accelerate warns of kernels before 5.5: on them training was seen to hang without an error.
    """
    return None if at_least(host.kernel, OLDEST_KERNEL) else f"the kernel is {host.kernel}"
