"""With a real engine: what differs between two builds is named, and a build that fails leaves nothing behind."""

import dataclasses
import os
import py_compile
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.errors import EnvironmentUnfit
from launcher.images import build, diff, engine, locks, versions, wheels

PINS = versions.read()


def _unready() -> str | None:
    """Why nothing can be built here."""
    try:
        client = engine.connect()
        engine.need_reproducible_builds(client)
        client.close()
    except EnvironmentUnfit as error:
        return error.message
    return None


REASON = _unready() if shutil.which("docker") else "docker is not installed"
pytestmark = [
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
    pytest.mark.filterwarnings("ignore:unclosed"),
]


@pytest.fixture
def name() -> Iterator[str]:
    """A name for images of this test, which are gone after it."""
    unique = f"planted-{uuid.uuid4().hex[:8]}"
    yield unique
    listed = subprocess.run(["docker", "images", "-q", unique], capture_output=True, text=True, check=True).stdout
    if listed.split():
        subprocess.run(["docker", "rmi", "--force", *set(listed.split())], capture_output=True, check=True)


def made(folder: Path, reference: str, time: int) -> str:
    """An image with a module compiled in the usual way, and with files that carry the time of their making."""
    folder.mkdir()
    (folder / "module.py").write_text("a = 1\n")
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY module.py module.pyc /\n")
    os.utime(folder / "module.py", (time, time))
    py_compile.compile(str(folder / "module.py"), cfile=str(folder / "module.pyc"))
    os.utime(folder / "module.pyc", (1, 1))
    options = ["--provenance=false", "--output", "type=image,compression=uncompressed,oci-mediatypes=true"]
    subprocess.run(
        ["docker", "buildx", "build", "-q", "--no-cache", *options, "-t", reference, str(folder)],
        check=True,
        timeout=120,
    )
    return reference


def test_two_real_builds_differ_by_what_was_planted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "cache", lambda: tmp_path)
    builds = [made(tmp_path / f"{time}", f"{name}:{time}", time) for time in (1000, 2000)]
    found = [str(one) for one in diff.named(*builds)]
    assert "layer 0: module.py: time 1000.0 against 2000.0" in found
    assert "layer 0: module.pyc: bytecode that holds its source's time, 1000 against 2000" in found
    assert not [one for one in found if one.startswith("layer") and "module" not in one]


def test_a_build_that_fails_half_way_tags_and_records_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant = dataclasses.replace(PINS.variant("cpu"), name=name)
    (tmp_path / "images" / "locks").mkdir(parents=True)
    locks.path(tmp_path, name).write_text(locks.read(versions.ROOT, "cpu"))
    (tmp_path / "images" / "Dockerfile").write_text("FROM scratch AS runtime\nCOPY lock.txt /\nCOPY nothing /\n")
    (tmp_path / "base.tar").touch()
    monkeypatch.setattr(build, "cache", lambda: tmp_path)
    monkeypatch.setattr(build, "_base", lambda *_arguments: tmp_path / "base.tar")
    monkeypatch.setattr(wheels, "fetch", lambda *_arguments: tmp_path)
    with pytest.raises(EnvironmentUnfit, match="nothing was tagged"):
        build.build(tmp_path, PINS, build.Request(variant=variant), print)
    assert engine.find(engine.connect(), build.reference(variant)) is None
    assert build.last(variant) is None
