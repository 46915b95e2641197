"""Apptainer: the definition file that turns a built image into a SIF, and the build where apptainer is there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from launcher import shell
from launcher.errors import EnvironmentUnfit
from launcher.images import build as images
from launcher.images import engine
from launcher.images.build import Built
from launcher.images.versions import Variant


def build(variant: Variant, target: str, say: Callable[[str], None]) -> Path:
    """Write the definition file and the archive it names, and build the SIF from them; the SIF's path."""
    built = images.last(variant, target)
    if built is None:
        raise EnvironmentUnfit(
            f"the {target} image of {variant.name} is not built",
            hint=f"launcher images build {variant.name} --target {target}",
        )
    archive = engine.save(engine.connect(), built.digest, images.cache() / f"{variant.name}-{target}.tar")
    definition = archive.with_suffix(".def")
    definition.write_text(render(built, archive), encoding="utf-8")
    say(f"definition: {definition}")
    program = shutil.which("apptainer") or shutil.which("singularity")
    if program is None:
        raise EnvironmentUnfit(
            f"apptainer is missing; the definition file is {definition}",
            hint=f"where apptainer is: apptainer build {variant.name}.sif {definition}",
        )
    made = definition.with_suffix(".sif")
    if shell.complete([program, "build", "--force", str(made), str(definition)], shown=True).returncode:
        raise EnvironmentUnfit("apptainer could not build the image (see above)")
    return made


def render(built: Built, archive: Path) -> str:
    """The definition file: the very image, by its archive, with the engine's settings that Apptainer does not take."""
    return f"""\
Bootstrap: oci-archive
From: {archive}

%labels
    launcher.image {built.digest}
    launcher.lock {built.lock_digest}

%environment
    export PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin
    export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

%runscript
    exec launcher "$@"
"""
