"""The libraries torch is made of: whether the right distributions are installed, each once and whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.check import Outcome, Status, check, fail, fine, warn
from envcheck.compatibility import table
from envcheck.versions import at_least, compare, minor, parse

if TYPE_CHECKING:
    from envcheck.sections.gpus import Driver
    from envcheck.sections.host import Host, Python
    from envcheck.sections.libraries import Expectation, Libraries, Packages
    from envcheck.sections.need import Need


@check(
    "LIB005",
    remedy="pip uninstall -y {names} && pip install torch   # brings back the one it wants",
    modes=("F37",),
)
def no_file_has_two_owners(packages: Packages) -> Outcome:
    """No library is claimed by two distributions.

    The cu12 and cu13 wheels of one library install to one path: the last wins, and the metadata of both still tells
    its own version.
    """
    if packages.contested:
        path, _, names = packages.contested[0].partition(": ")
        return fail(f"{path} belongs to {names}", names=names.replace(", ", " "))
    return None


@check("LIB006", remedy="pip install --force-reinstall --no-deps {name}", modes=("F37",))
def libraries_are_the_recorded_ones(packages: Packages) -> Outcome:
    """Every library of the NVIDIA wheels has the size its RECORD tells.

    Another size means that something wrote over it after the installation.
    """
    if packages.altered:
        words = packages.altered[0].split(" ")
        name = next((word.rstrip(",") for word in words if word.startswith("nvidia-")), "the distribution")
        return fail(packages.altered[0], name=name)
    return None


@check(
    "LIB008",
    remedy="pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu130",
    modes=("F39",),
)
def gpu_host_has_a_cuda_torch(packages: Packages, driver: Driver, need: Need) -> Outcome:
    """On a machine with GPUs torch is a CUDA build.

    A CPU wheel comes in by accident (an index or a folder of wheels that has nothing else) and trains on the CPU.
    """
    if packages.torch is None or packages.torch_cuda is not None:
        return None
    if need.device == "cuda" or (need.device == "auto" and driver.device_nodes):
        return f"torch {packages.torch} has no CUDA, and this machine is wanted for its GPUs"
    return fine(f"torch {packages.torch} has no CUDA, as it should be without GPUs")


@check("LIB009", remedy="pip install {wanted}", severity=Status.WARN, modes=("F40",))
def torchs_own_pins_are_met(packages: Packages) -> Outcome:
    """Whatever torch, torchvision, torchaudio and triton require is installed in the version they require.

    torch is tested with one version of each NVIDIA library; another is found at run time all the same.
    """
    others = [one for one in packages.unmet if not one.startswith(("torchvision", "torchaudio"))]
    if others:
        return warn(others[0], wanted=_wanted(others[0]))
    return None


@check("LIB010", remedy="pip install --upgrade {wanted}", modes=("F41",))
def torchvision_belongs_to_this_torch(packages: Packages) -> Outcome:
    """torchvision and torchaudio were built for the installed torch.

    They link against torch's C++ library: "operator torchvision::nms does not exist", or a crash at import.
    """
    unmet = [one for one in packages.unmet if one.startswith(("torchvision", "torchaudio")) and " wants torch=" in one]
    if unmet:
        name = unmet[0].split(" ", 1)[0]
        return fail(unmet[0], wanted=f"{name} torch=={packages.torch}")
    torch, vision = packages.torch, packages.installed.get("torchvision")
    offset = table("torch_wheels")["companions"]["torchvision"]["offset_minor"]
    if torch and vision and parse(torch)[:1] == (2,) and parse(vision)[:2] != (0, parse(torch)[1] + offset):
        wanted = f"torchvision==0.{parse(torch)[1] + offset}.*"
        return fail(f"torchvision {vision} is not the one of torch {torch}", wanted=f"'{wanted}'")
    return None


@check("LIB011", remedy="remove all but one: {command}", modes=("F42",))
def torch_is_installed_once(packages: Packages) -> Outcome:
    """Python finds one torch only.

    A second one in the user's site folder or on PYTHONPATH wins or loses by the order of the search path, and its
    libraries mix with the first one's.
    """
    twice = packages.duplicates.get("torch")
    if twice:
        folder = twice[0].rpartition(" in ")[2]
        return fail(f"torch is there {len(twice)} times: {'; '.join(twice)}", command=f"rm -r {folder}/torch*")
    return None


@check(
    "LIB016",
    remedy="start the Python that is meant: {what}",
    modes=("F48",),
)
def interpreter_is_the_one_meant(python: Python, packages: Packages) -> Outcome:
    """This is the Python of the active environment, and one that torch supports.

    A shell that says (venv) and a `python` from elsewhere install here and run there.
    """
    wanted = packages.requires_python.get("torch", "").partition(">=")[2].partition(",")[0]
    if wanted and not at_least(python.version, wanted):
        saw = f"Python is {python.version}, the installed torch wants {wanted} or later"
        return fail(saw, what=f"python{wanted} -m venv .venv && .venv/bin/python -m pip install torch")
    if python.virtual_env and python.virtual_env.rstrip("/") != python.prefix.rstrip("/"):
        saw = f"the shell has {python.virtual_env} active, the interpreter is {python.executable}"
        return warn(saw, what=f"source {python.virtual_env}/bin/activate, or run {python.virtual_env}/bin/python")
    return None


@check(
    "LIB023",
    remedy="{action}",
    modes=("F99",),
)
def no_version_is_known_to_be_bad(packages: Packages, host: Host) -> Outcome:
    """No installed version is on the list of those known to hang or to compute wrongly.

    Such a version passes every other check, and costs days: the list holds what is known, with where it is reported.
    """
    for row in table("known_bad")["rows"]:
        for name, version in packages.installed.items():
            about = name.startswith(f"nvidia-{row['library']}-") or name == row["library"]
            if about and row["architecture"] in ("", host.architecture) and not at_least(version, row["below"]):
                return fail(f"{name} {version} on {host.architecture}: {row['why']}", action=row["remedy"])
    return None


@check(
    "LIB024",
    remedy="run inside the image, or install by its lock: ./install --variant {variant}",
    modes=("F102",),
)
def environment_is_the_expected_one(expectation: Expectation, packages: Packages, python: Python) -> Outcome:
    """The installed versions are those of the image variant that was asked for.

    Results recorded for one set of versions say nothing about another: figures and digests move with them.
    """
    have = {
        "torch": packages.torch,
        "cuda": packages.torch_cuda,
        "python": python.version,
        **{name: _nvidia(packages, name) for name in ("cudnn", "nccl")},
        "triton": packages.installed.get("triton"),
    }
    for name, wanted in expectation.versions.items():
        installed = have.get(name)
        if installed is None or not _same(name, installed, wanted):
            saw = f"{expectation.variant} has {name} {wanted}, here it is {installed or 'missing'}"
            return fail(saw, variant=expectation.variant.rpartition("/")[2])
    return None


@check(
    "LIB025",
    remedy="python -m pip install torch, or activate the environment that has it",
    severity=Status.WARN,
    modes=("F48",),
)
def torch_is_installed(packages: Packages) -> Outcome:
    """torch is installed for this interpreter.

    On a host that only starts containers it need not be.
    """
    return None if packages.torch else "no torch on this interpreter's search path"


@check("LIB013", remedy="none needed", severity=Status.WARN, modes=("F44",))
def compiler_of_extensions_fits(libraries: Libraries, packages: Packages) -> Outcome:
    """nvcc, where there is one, has torch's major CUDA version.

    It matters only for building extensions: the wheels bring their own runtime, so another toolkit is no fault.
    """
    if libraries.nvcc and packages.torch_cuda and minor(libraries.nvcc) != minor(packages.torch_cuda):
        return fine(f"nvcc is {libraries.nvcc}, torch has CUDA {packages.torch_cuda}: of interest for extensions only")
    return None


def _wanted(sentence: str) -> str:
    """`torch 2.13.0 wants nvidia-nccl-cu13==2.29.7, …` -> `nvidia-nccl-cu13==2.29.7`."""
    words = sentence.split(" wants ")[1]
    return repr(words.rpartition(", ")[0]) if "," in words else words


def _nvidia(packages: Packages, library: str) -> str | None:
    return next((v for name, v in packages.installed.items() if name.startswith(f"nvidia-{library}-cu")), None)


def _same(name: str, installed: str, wanted: str) -> bool:
    if name in ("cuda", "python", "triton"):
        length = min(len(parse(installed)), len(parse(wanted)), 2)
        return parse(installed)[:length] == parse(wanted)[:length]
    if "+" in wanted:
        return installed == wanted
    return compare(installed, wanted) == 0
