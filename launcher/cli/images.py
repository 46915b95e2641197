"""`launcher images`: the environment's pins, locks and images."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from launcher.cli.group import Group
from launcher.images import versions

_archive = click.option(
    "--archive",
    metavar="ADDRESS",
    envvar="LAUNCHER_DEBIAN_ARCHIVE",
    help="The Debian package archive to take the base from, a dated snapshot for instance.",
)
_target = click.option(
    "--target",
    type=click.Choice(["runtime", "devel"]),
    default="runtime",
    show_default=True,
    help="To run jobs, or to build extensions: a compiler, and nvcc beside CUDA.",
)


@click.group(cls=Group, epilog="Example: launcher images build cpu")
def command() -> None:
    """List, lock, build, test and compare the images that jobs run in."""


@command.command("list", epilog="Example: launcher images list")
def list_() -> None:
    """Show each variant: what it holds, and what it needs of the host and its GPUs."""
    from launcher.images import build, locks

    pins = versions.read()
    for variant in pins.variants.values():
        faults = locks.faults(locks.read(versions.ROOT, variant.name), variant, pins)
        built = build.last(variant)
        click.echo(f"{variant.name}{' (the default)' if variant.name == pins.default else ''}")
        for name, value in _described(variant).items():
            click.echo(f"  {name:<9} {value}")
        click.echo(f"  {'lock':<9} {'; '.join(faults) or 'agrees with the pin file'}")
        click.echo(f"  {'image':<9} {built.digest if built else 'not built here'}")


@command.command(epilog="Example: launcher images lock --check")
@click.option("--upgrade", is_flag=True, help="Take releases up to two weeks ago instead of the recorded date.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a lock is not what the pins give.")
@click.option("--base", is_flag=True, help="Record Debian's packages as they are today, too.")
@_archive
def lock(upgrade: bool, check: bool, base: bool, archive: str | None) -> int:
    """Make the hash locks from the pin file and say what changed."""
    from launcher.images import locking, locks

    root = versions.ROOT
    pins = versions.read(root)
    if upgrade:
        pins = locking.upgraded(pins, datetime.datetime.now(tz=datetime.UTC).date())
    changed = 0
    for name, text in locking.make(root, pins).items():
        before = locks.path(root, name).read_text(encoding="utf-8") if locks.path(root, name).exists() else ""
        changes = locking.differences(before, text)
        changed += _tell(name, changes)
        if changes and not check:
            locks.path(root, name).write_text(text, encoding="utf-8")
    if upgrade and not check:
        locking.write_age_limit(root, pins)
    for kind in ("runtime", "devel") if base else ():
        changed += _tell(f"debian-{kind}", locking.record_base(root, kind, archive, write=not check))
    return 1 if check and changed else 0


@command.command(epilog="Example: launcher images build cpu --target devel")
@click.argument("variant")
@_target
@click.option("--from-scratch", is_flag=True, help="Bootstrap the base again and reuse no layer.")
@click.option("--newest-base", is_flag=True, help="Take Debian as it is today, even if that is not what is recorded.")
@_archive
@click.option(
    "--format",
    "form",
    type=click.Choice(["image", "oci", "sif"]),
    default="image",
    show_default=True,
    help="In the engine alone, as an archive (OCI) too, or as Apptainer's SIF from what is built.",
)
def build(variant: str, target: str, from_scratch: bool, newest_base: bool, archive: str | None, form: str) -> None:
    """Build VARIANT and print its digest: the same one every time for the same pins and commit."""
    from launcher.images import apptainer, engine
    from launcher.images import build as builder

    pins = versions.read()
    wanted = pins.variant(variant)
    if form == "sif":
        click.echo(apptainer.build(wanted, target, _say))
        return
    request = builder.Request(
        variant=wanted, target=target, from_scratch=from_scratch, newest_base=newest_base, archive=archive
    )
    built = builder.build(versions.ROOT, pins, request, _say)
    click.echo(f"{built.reference} {built.digest}")
    click.echo(f"configuration {built.config_digest}, {built.size / 1e9:.2f} GB unpacked")
    if form == "oci":
        file = builder.cache() / f"{wanted.name}-{target}.tar"
        click.echo(f"archive {engine.save(engine.connect(), built.digest, file)}")


@command.command("test", epilog="Example: launcher images test cpu")
@click.argument("variant")
@_target
@click.option("--report", type=click.Path(path_type=Path), help="Where the bill of materials goes (CycloneDX).")
def test(variant: str, target: str, report: Path | None) -> int:
    """Run what an image must do inside a container of VARIANT, and judge what it holds."""
    from launcher.images import trial

    pins = versions.read()
    failed = False
    for result in trial.run(versions.ROOT, pins.variant(variant), target, report):
        mark = {True: "pass", False: "FAIL", None: "skip"}[result.passed]
        click.echo(f"{mark}  {result.name}" + (f": {result.saw}" if result.saw else ""))
        failed |= result.passed is False
    return int(failed)


@command.command(epilog="Example: launcher images diff launcher:cpu other.tar")
@click.argument("first")
@click.argument("second")
def diff(first: str, second: str) -> int:
    """Say which file of which layer differs between two images, and how. Exit 1 if anything does.

    FIRST and SECOND are archives, or names or digests of images that the engine holds.
    """
    from launcher.images import diff as comparison

    differ = False
    for difference in comparison.named(first, second):
        differ = True
        click.echo(str(difference))
    return int(differ)


def _described(variant: versions.Variant) -> dict[str, str]:
    """What a variant holds and needs, as rows of words."""
    parts = {
        name: getattr(variant, name)
        for name in ("torch", "cuda", "cudnn", "nccl", "triton")
        if getattr(variant, name) is not None
    }
    if variant.driver is None:
        return {**parts, "needs": "no GPU"}
    gpus = ", ".join(variant.architectures) + (
        f" and, compiled on first use, from {variant.ptx} on" if variant.ptx else ""
    )
    complete = f", {variant.driver_complete} for every feature" if variant.driver_complete != variant.driver else ""
    return {
        **parts,
        "needs": f"an NVIDIA driver from {variant.driver} on{complete}",
        "gpus": f"compute capability {gpus}",
        "machines": ", ".join(variant.machines),
    }


def _tell(name: str, changes: list[str]) -> int:
    click.echo(f"{name}: {'no change' if not changes else f'{len(changes)} changes'}")
    for change in changes:
        click.echo(f"  {change}")
    return len(changes)


def _say(line: str) -> None:
    click.echo(line, err=True)
