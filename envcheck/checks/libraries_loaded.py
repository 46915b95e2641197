"""The libraries torch is made of: which ones the loader finds, and whether torch works with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.check import Outcome, Status, check, fail, fine
from envcheck.sections.torch import NOT_INSTALLED
from envcheck.versions import compare

if TYPE_CHECKING:
    from envcheck.sections.gpus import Gpus
    from envcheck.sections.libraries import Libraries, Packages
    from envcheck.sections.torch import Torch

MATMUL_TOLERANCE = 2e-3
"""Relative to the largest entry; TF32 keeps 10 bits of the mantissa, the operands need 4."""

EXPECTED_FOLDERS = ("/nvidia/", "/torch/lib/")
"""Where the wheels' own libraries lie."""


@check("LIB001", remedy="export LD_LIBRARY_PATH= (or take {folder} out of it)", modes=("F33", "F34"))
def library_path_does_not_shadow_the_wheels(libraries: Libraries) -> Outcome:
    """LD_LIBRARY_PATH holds no second copy of a library the wheels bring.

    The loader takes it first: another cuDNN or nvJitLink ends in "undefined symbol", or in wrong kernels.
    """
    if libraries.shadowing:
        path = libraries.shadowing[0]
        return fail(f"{path} comes before the wheel's own", folder=path.rpartition("/")[0])
    return None


@check("LIB002", remedy="export LD_LIBRARY_PATH= and run again; `ldd` of {path} shows who asks for it", modes=("F33",))
def mapped_libraries_are_the_wheels(torch: Torch, packages: Packages) -> Outcome:
    """What is really mapped after `import torch` came with the wheels.

    Metadata tells what was installed; the memory map tells what runs.
    """
    if not any(name.startswith("nvidia-") for name in packages.installed):
        return fine("torch brings its own libraries here, there are no NVIDIA wheels to compare with")
    for name, paths in torch.mapped.items():
        foreign = [path for path in paths if not any(folder in path for folder in EXPECTED_FOLDERS)]
        if foreign and name not in ("libcuda", "libnvidia-ml"):  # these two belong to the driver
            return fail(f"{name} is mapped from {foreign[0]}", path=foreign[0])
    return None


@check("LIB030", remedy="pip install --force-reinstall --no-deps {distribution}", modes=("F37",))
def mapped_libraries_have_their_recorded_digest(torch: Torch) -> Outcome:
    """The NCCL and the cuDNN in the process are, byte by byte, the ones that were installed.

    A library that was overwritten after the installation, by a build or by half of an update, keeps its name and its
    version; only its bytes tell.
    """
    if not torch.altered:
        return None
    name, _, version = torch.altered[0].rpartition("the file that ")[2].partition(" ")[0].rpartition("-")
    return fail(torch.altered[0], distribution=f"{name}=={version}")


@check("LIB003", remedy="take {folder} out of LD_LIBRARY_PATH", modes=("F35",))
def libcuda_is_no_stub(libraries: Libraries) -> Outcome:
    """The libcuda that the loader finds is the driver's, not the one for linking without a driver.

    With the stub every call fails: "CUDA driver is a stub library".
    """
    if libraries.stub:
        return fail(f"{libraries.stub} is a stub", folder=libraries.stub.rpartition("/")[0])
    return None


@check("LIB004", remedy="pip install --force-reinstall --no-deps {name}=={wanted}", modes=("F36",))
def loaded_nccl_is_the_installed_one(torch: Torch, packages: Packages) -> Outcome:
    """The NCCL that answers is the one whose wheel is installed.

    An older one from the system lacks calls ("undefined symbol: ncclCommRegister") or hangs with newer peers.
    """
    wheels = {name: version for name, version in packages.installed.items() if name.startswith("nvidia-nccl-cu")}
    for name, wanted in wheels.items():
        if torch.nccl and compare(torch.nccl, wanted) != 0:
            return fail(f"{name} is {wanted}, the loaded library says {torch.nccl}", name=name, wanted=wanted)
    return None


@check("LIB007", remedy="unset LD_PRELOAD", modes=("F38",))
def nothing_is_loaded_before_torch(libraries: Libraries) -> Outcome:
    """No accelerator library is preloaded before torch loads its own.

    The first copy in a process wins, whichever package brought it.
    """
    return f"LD_PRELOAD loads {libraries.preloaded[0]}" if libraries.preloaded else None


@check("LIB026", remedy="import torch before the package that brings {path}", modes=("F38",))
def one_nccl_is_mapped(torch: Torch) -> Outcome:
    """One NCCL only is in the process.

    Two of them (torch's and cupy's, say) share names: whose function is called depends on the order of imports.
    """
    for name in ("libnccl", "libcudnn", "libcudart"):
        paths = torch.mapped.get(name, [])
        if len({path.rpartition("/")[0] for path in paths}) > 1:
            return fail(f"{name} is mapped {len(paths)} times: {', '.join(paths)}", path=paths[-1])
    return None


@check("LIB012", remedy="pip install 'numpy<2', or a torch from 2.3 on", modes=("F43",))
def tensors_become_arrays(torch: Torch) -> Outcome:
    """A tensor becomes a numpy array and comes back.

    A torch built for numpy 1 beside numpy 2 says "Numpy is not available", often only in a loader's process.
    """
    return torch.numpy_failure


@check(
    "LIB014",
    remedy="apt-get install -y gcc libc-bin (or take the -devel image)",
    severity=Status.WARN,
    modes=("F45",),
)
def triton_finds_its_tools(libraries: Libraries) -> Outcome:
    """torch.compile finds a C compiler, and Triton ldconfig.

    Runtime images leave them out: the first compiled step ends with "Failed to find C compiler".
    """
    missing = [
        name for name, path in (("a C compiler", libraries.compiler), ("ldconfig", libraries.ldconfig)) if not path
    ]
    return f"not on PATH: {' and '.join(missing)}" if missing else None


@check("LIB020", remedy="python -m pip install {again}torch; then look at {place}", modes=("F34",))
def torch_can_be_imported(torch: Torch) -> Outcome:
    """torch can be imported.

    An undefined symbol here means that a library of another CUDA toolkit was found before the wheel's own.
    """
    if not torch.failure:
        return None
    if torch.failure == NOT_INSTALLED:
        return fail(torch.failure, again="", place="which environment is active: command -v python")
    return fail(torch.failure, again="--force-reinstall ", place="LD_LIBRARY_PATH")


@check("LIB021", remedy="envcheck --select gpu; drain the node if the product stays wrong", modes=("F97",))
def small_product_is_right(torch: Torch) -> Outcome:
    """A small matrix product on every device agrees with the float64 product.

    A GPU, a driver or a library that computes wrongly is rare, and says nothing: the loss is only a little worse.
    """
    for device in torch.devices:
        if device.failure:
            return f"{device.name}: {device.failure}"
        if device.matmul_error is not None and not device.matmul_error <= MATMUL_TOLERANCE:
            return f"{device.name}: the product is off by {device.matmul_error:.2g} of its largest entry"
    return None


@check("LIB022", remedy="pip install --force-reinstall --no-deps {name}", modes=("F33",))
def cudnn_loads(torch: Torch, packages: Packages) -> Outcome:
    """cuDNN loads, and is the installed one.

    Another cuDNN on the library path is loaded in place of torch's own, and convolutions then fail or give other bits.
    """
    name = next((one for one in packages.installed if one.startswith("nvidia-cudnn-cu")), "nvidia-cudnn-cu13")
    wanted = ".".join(packages.installed.get(name, "").split(".")[:3])
    if torch.cudnn_failure:
        return fail(torch.cudnn_failure, name=name)
    if torch.cudnn and wanted and compare(torch.cudnn, wanted) != 0:
        return fail(f"{name} is {wanted}, the loaded library says {torch.cudnn}", name=name)
    return None


@check("LIB027", remedy="envcheck --select driver", modes=("F04",))
def cuda_can_be_initialised(torch: Torch, gpus: Gpus) -> Outcome:
    """A CUDA torch on a machine with GPUs can use them.

    `torch.cuda.is_available()` says False and hides why; this is the driver's own word.
    """
    if torch.cuda is None or not gpus.devices or torch.cuda_available:
        return None
    return torch.cuda_failure or "torch sees no GPU and gives no reason"


@check("LIB028", remedy="rm -r {path}, or export PYTHONNOUSERSITE=1 where it lies in ~/.local", modes=("F42",))
def imported_torch_is_the_installed_one(torch: Torch, packages: Packages) -> Outcome:
    """The torch that is imported is the one whose metadata is found.

    A copy in ~/.local or in the working folder shadows the installed one. The run then uses another version than
    its record names, and cannot be reproduced.
    """
    if torch.version and packages.torch and torch.version != packages.torch:
        return fail(f"imported torch {torch.version}, installed {packages.torch}", path=torch.path)
    return None
