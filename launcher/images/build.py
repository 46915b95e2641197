"""Builds an image from the pins: its context staged, its wheels fetched, the same digest every time."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from launcher import shell
from launcher.errors import EnvironmentUnfit, RequestError
from launcher.images import debian, engine, locks, wheels
from launcher.images.versions import Variant, Versions

PROJECT = ("LICENSE", "README.md", "pyproject.toml", "envcheck", "jobs", "launcher", "images/versions.toml")
"""What of the checkout goes into an image."""
DOCKER_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
BASES = {"runtime": ("runtime",), "devel": ("runtime", "devel")}
"""Which Debian roots a target stands on; everything is installed on the smaller one."""
FREE_BYTES = {"cpu": 6 << 30}
FREE_BYTES_CUDA = 20 << 30
FULL = 1 << 30
"""With fewer bytes free than this, a build that failed is taken to have failed for want of space."""

PRUNE = "docker builder prune"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to build, and what may be taken from an earlier build."""

    variant: Variant
    target: str = "runtime"
    from_scratch: bool = False
    """Bootstrap the base again and use no layer of an earlier build."""
    newest_base: bool = False
    """Take Debian's packages as they are today, even if they are not the recorded ones."""
    archive: str | None = None
    """The address of a Debian package archive; None: this machine's own."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """An image that was built, and that the engine holds."""

    reference: str
    digest: str
    config_digest: str
    lock_digest: str
    commit: str | None
    size: int
    """Bytes of its files, unpacked."""


Say = Callable[[str], None]


def build(root: Path, versions: Versions, request: Request, say: Say) -> Built:
    """Build one variant into the engine. Nothing is tagged unless all of it went through."""
    variant = request.variant
    lock = locks.read(root, variant.name)
    if faults := locks.faults(lock, variant, versions):
        raise RequestError(f"{variant.name}'s lock disagrees: {'; '.join(faults)}", hint="launcher images lock")
    client = engine.connect()
    engine.need_reproducible_builds(client)
    store = cache()
    places = [store, *engine.folders(client)]
    _need_space(variant, places)
    say("base: bootstrapping Debian" if request.from_scratch else "base: looking for Debian")
    bases = {kind: _base(root, versions, request, kind, store, say) for kind in BASES[request.target]}
    say("wheels: fetching what is missing")
    tools = locks.tools(root, versions, variant)
    folder = store / "wheels" / variant.name
    fetched = wheels.fetch(versions, variant, lock + tools, platform.machine(), folder)
    with tempfile.TemporaryDirectory(dir=store) as scratch:
        context, said = Path(scratch) / "context", Path(scratch) / "metadata.json"
        _stage(root, context, {"lock.txt": lock, "tools.txt": tools}, bases)
        say("image: building")
        labels = _labels(root, request, lock, bases)
        done = shell.complete(_command(versions, request, labels, context, fetched, said), shown=True)
        if done.returncode:
            raise _failed(variant, places)
        return _keep(request, labels, json.loads(said.read_text(encoding="utf-8")), store)


def reference(variant: Variant, target: str = "runtime") -> str:
    """The engine's name for the newest build of a variant. What runs is named by digest, never by this."""
    return f"launcher:{variant.name}" + ("" if target == "runtime" else f"-{target}")


def last(variant: Variant, target: str = "runtime") -> Built | None:
    """What was last built of a variant on this machine."""
    try:
        return Built(**json.loads(_record(cache(), variant, target).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def cache() -> Path:
    """Where wheels, bases and records of builds are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "launcher" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _base(root: Path, versions: Versions, request: Request, kind: str, store: Path, say: Say) -> Path:
    recorded = debian.record_path(root, kind).read_text(encoding="utf-8")
    wanted = hashlib.sha256((recorded + repr(versions.base)).encode()).hexdigest()[:16]
    kept = store / "bases" / wanted / f"debian-{kind}.tar"
    if kept.exists() and not request.from_scratch:
        return kept
    with tempfile.TemporaryDirectory(dir=store) as scratch:
        made, record = debian.bootstrap(versions, kind, Path(scratch), request.archive)
        if differ := debian.differences(recorded, record):
            shown = "\n  ".join(differ[:10])
            if not request.newest_base:
                raise EnvironmentUnfit(
                    f"Debian no longer is what {debian.record_path(root, kind).name} records:\n  {shown}",
                    hint="name a dated archive with --archive, record today's with `launcher images lock --base`, "
                    "or build with --newest-base",
                )
            say(f"base: not the recorded one:\n  {shown}")
            kept = store / "bases" / "newest" / kept.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        made.replace(kept)
    return kept


def _stage(root: Path, context: Path, texts: dict[str, str], bases: dict[str, Path]) -> None:
    """Only what the Dockerfile reads, with modes that do not come from the checkout."""
    context.mkdir()
    for kind, file in bases.items():
        (context / f"debian-{kind}.tar").hardlink_to(file)
    for name, text in texts.items():
        (context / name).write_text(text, encoding="utf-8")
    shutil.copy(root / "images" / "Dockerfile", context)
    for name in PROJECT:
        source, target = root / name, context / "project" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"))
        elif source.exists():
            shutil.copy(source, target)
    (context / "project" / "jobs").mkdir(exist_ok=True)
    for path in [context / "project", *(context / "project").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def _command(
    versions: Versions, request: Request, labels: dict[str, str], context: Path, fetched: Path, said: Path
) -> list[str]:
    epoch = versions.base["epoch"]
    return [
        *("env", f"SOURCE_DATE_EPOCH={epoch}", "docker", "buildx", "build", "--progress=plain", "--network=none"),
        *("--provenance=false", "--platform", f"linux/{DOCKER_ARCHITECTURES[platform.machine()]}"),
        *(["--no-cache"] if request.from_scratch else []),
        *("--target", request.target, "--build-arg", f"SOURCE_DATE_EPOCH={epoch}"),
        *("--build-context", f"wheels={fetched}", "--tag", reference(request.variant, request.target)),
        *(word for key, value in sorted(labels.items()) for word in ("--label", f"{key}={value}")),
        # Uncompressed: a registry compresses anew, and the configuration's digest stays the same whatever it does.
        *("--output", "type=image,compression=uncompressed,oci-mediatypes=true", "--metadata-file", str(said)),
        str(context),
    ]


def _labels(root: Path, request: Request, lock: str, bases: dict[str, Path]) -> dict[str, str]:
    commit, variant = _commit(root), request.variant
    return {
        "org.opencontainers.image.title": f"launcher {variant.name}",
        "org.opencontainers.image.licenses": "Apache-2.0",
        **({"org.opencontainers.image.revision": commit} if commit else {}),
        "launcher.variant": variant.name,
        "launcher.torch": variant.torch,
        "launcher.lock": locks.digest(lock),
        "launcher.base": f"sha256:{debian.digest(bases[request.target])}",
    }


def _commit(root: Path) -> str | None:
    said = shell.read(["git", "-C", str(root), "rev-parse", "HEAD"])
    dirty = shell.read(["git", "-C", str(root), "status", "--porcelain"])
    return said.strip() + ("-modified" if dirty else "") if said else None


def _keep(request: Request, labels: dict[str, str], metadata: dict[str, str], store: Path) -> Built:
    name = reference(request.variant, request.target)
    digest = metadata["containerimage.digest"]
    built = Built(
        reference=name,
        digest=digest,
        config_digest=metadata["containerimage.config.digest"],
        lock_digest=labels["launcher.lock"],
        commit=labels.get("org.opencontainers.image.revision"),
        size=engine.keep(engine.connect(), name, digest),
    )
    record = _record(store, request.variant, request.target)
    record.write_text(json.dumps(asdict(built), indent=2), encoding="utf-8")
    return built


def _failed(variant: Variant, places: Iterable[Path]) -> EnvironmentUnfit:
    full = [str(place) for place in places if shutil.disk_usage(place).free < FULL]
    return EnvironmentUnfit(
        f"{variant.name} could not be built (see above); nothing was tagged"
        + (f": the disk of {full[0]} is full" if full else ""),
        hint=PRUNE if full else None,
    )


def _record(store: Path, variant: Variant, target: str) -> Path:
    return store / f"{variant.name}-{target}.json"


def _need_space(variant: Variant, places: Iterable[Path]) -> None:
    need = FREE_BYTES.get(variant.name, FREE_BYTES_CUDA)
    for place in places:
        free = shutil.disk_usage(place).free
        if free < need:
            raise EnvironmentUnfit(
                f"{variant.name} takes {need >> 30} GiB to build, {place} has {free >> 30} GiB free", hint=PRUNE
            )
