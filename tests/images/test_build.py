"""What a build refuses before it begins, and what it writes beside the image."""

import dataclasses
import json
import os
import re
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launcher.errors import EnvironmentUnfit, RequestError
from launcher.images import apptainer, audit, build, engine, locks, materials, trial, versions, wheels
from launcher.images.build import Built, Request
from launcher.images.subject import Skipped, Subject

PINS = versions.read()
BUILT = Built(
    reference="launcher:cpu",
    digest="sha256:" + "a" * 64,
    config_digest="sha256:" + "b" * 64,
    lock_digest="sha256:" + "c" * 64,
    commit=None,
    size=1,
)


def test_a_lock_that_disagrees_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    (tmp_path / "images" / "locks").mkdir(parents=True)
    (tmp_path / "images" / "locks" / "cpu.txt").write_text("torch==2.12.0+cpu \\\n    --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(RequestError, match=r"torch is 2\.12\.0\+cpu in the lock, 2\.13\.0\+cpu in the pin file"):
        build.build(tmp_path, PINS, Request(variant=PINS.variant("cpu")), print)


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (PermissionError(13, "Permission denied"), "you may not speak to it"),
        (FileNotFoundError(2, "No such file or directory"), "no Docker engine answers"),
        (ConnectionRefusedError(111, "Connection refused"), "no Docker engine answers"),
        (TimeoutError("timed out"), "does not answer: timed out"),
    ],
)
def test_an_engine_that_does_not_answer_says_which_of_the_reasons(
    reason: OSError, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_options: object) -> None:
        raise reason

    monkeypatch.setenv("DOCKER_HOST", "tcp://localhost")  # so that only the SDK is asked
    monkeypatch.setattr("docker.from_env", refuse)
    with pytest.raises(EnvironmentUnfit, match=sentence):
        engine.connect()


def test_too_little_space_is_refused_before_anything_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 1 << 30}))
    with pytest.raises(EnvironmentUnfit, match="cu130 takes 20 GiB to build"):
        build._need_space(PINS.variant("cu130"), [tmp_path])


def test_what_is_staged_has_modes_that_do_not_come_from_the_checkout(tmp_path: Path) -> None:
    root, bases = tmp_path / "root", {}
    for name in ("images/Dockerfile", "images/versions.toml", "launcher/__init__.py", "launcher/__pycache__/a.pyc"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
        (root / name).chmod(0o600)
    build._stage(root, tmp_path / "context", {"lock.txt": "lock"}, bases)
    staged = {
        str(path.relative_to(tmp_path / "context" / "project"))
        for path in (tmp_path / "context").rglob("*.*")
        if "project" in path.parts
    }
    assert staged == {"images/versions.toml", "launcher/__init__.py"}
    assert (tmp_path / "context/project/launcher/__init__.py").stat().st_mode & 0o777 == 0o644


def bill() -> dict[str, Any]:
    packages = [("apt", "2.6.1", "amd64"), ("g++", "4:12.2.0-3", "amd64")]
    return materials.bill(
        BUILT, {"torch": "2.13.0+cpu"}, packages, f"# header\napt 2.6.1 {'1' * 64}\ng++ 4:12 {'2' * 64}\n"
    )


def test_the_bill_of_materials_depends_on_nothing_but_the_image() -> None:
    assert bill() == bill()
    assert [part["purl"] for part in bill()["components"]] == [
        "pkg:pypi/torch@2.13.0%2Bcpu",
        "pkg:deb/debian/apt@2.6.1?arch=amd64",
        "pkg:deb/debian/g%2B%2B@4%3A12.2.0-3?arch=amd64",
    ]


def test_a_package_carries_the_recorded_digest_of_that_very_version_only() -> None:
    assert [part.get("hashes") for part in bill()["components"]] == [
        None,
        [{"alg": "SHA-256", "content": "1" * 64}],
        None,
    ]


def test_the_bill_of_materials_is_valid_cyclonedx() -> None:
    validation = pytest.importorskip(
        "cyclonedx.validation.json", reason="pip-audit, which brings the schema, is missing"
    )
    from cyclonedx.schema import SchemaVersion

    assert validation.JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps(bill())) is None


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], ([], [])),
        ([{"name": "a", "version": "1", "vulns": [{"id": "X-1"}, {"id": "X-2"}]}], (["a 1 (X-1, X-2)"], [])),
        ([{"name": "a", "skip_reason": "not found"}], ([], ["a"])),
    ],
)
def test_what_nobody_could_audit_is_told_apart_from_what_is_clean(
    rows: list[dict[str, Any]], verdict: tuple[list[str], list[str]]
) -> None:
    assert audit.judge(json.dumps({"dependencies": rows, "fixes": []})) == verdict


def test_a_vulnerability_service_that_cannot_be_asked_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: True)
    silent = subprocess.CompletedProcess([], 1, stdout="", stderr="Traceback\nConnectionError: no route\n")
    monkeypatch.setattr("launcher.shell.complete", lambda _argv: silent)
    subject = Subject(versions.ROOT, PINS.variant("cpu"), "runtime", BUILT, client=None)  # type: ignore[arg-type]
    subject.__dict__["description"] = {"distributions": {"torch": "2.13.0+cpu"}}
    with pytest.raises(Skipped, match="cannot be asked: ConnectionError: no route"):
        audit.audit(subject)


def test_a_wheel_with_another_digest_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "planted-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("planted-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
        wheel.writestr("planted-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    for name, value in {"PIP_FIND_LINKS": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    lock = f"planted==1.0 \\\n    --hash=sha256:{'0' * 64}\n"
    with pytest.raises(EnvironmentUnfit, match="planted") as caught:
        wheels.fetch(PINS, PINS.variant("cu130"), lock, "x86_64", tmp_path / "fetched")
    assert "DO NOT MATCH THE HASHES" in caught.value.message
    assert not list((tmp_path / "fetched").glob("*.whl"))


@pytest.mark.parametrize(
    ("labels", "settings", "fault"),
    [
        ({"launcher.lock": "sha256:other"}, {}, "names another lock"),
        ({"org.opencontainers.image.revision": "other"}, {}, "its labels"),
        ({}, {"User": "0:0"}, "User is 0:0"),
        ({}, {"StopSignal": "SIGKILL"}, "StopSignal is SIGKILL"),
        ({}, {"Healthcheck": None}, r"its health is asked by \[\]"),
    ],
)
def test_an_image_that_is_labelled_or_set_up_otherwise_fails(
    labels: dict[str, str], settings: dict[str, Any], fault: str
) -> None:
    commit, lock = {"org.opencontainers.image.revision": BUILT.commit}, locks.digest(locks.read(versions.ROOT, "cpu"))
    good = {
        "User": "10001:10001",
        "StopSignal": "SIGTERM",
        "Entrypoint": ["/usr/bin/tini", "--"],
        "Healthcheck": {"Test": ["CMD", "python", "-m", "envcheck"]},
    }
    image = SimpleNamespace(labels={"launcher.lock": lock, **commit, **labels}, attrs={"Config": {**good, **settings}})
    client = SimpleNamespace(images=SimpleNamespace(get=lambda _digest: image))
    subject = Subject(versions.ROOT, PINS.variant("cpu"), "runtime", BUILT, client)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match=fault):
        trial._set_up(subject)


@pytest.mark.parametrize(("free", "reason"), [(1 << 20, "the disk of .* is full"), (1 << 40, "nothing was tagged$")])
def test_a_build_that_fails_says_whether_for_want_of_space(
    free: int, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": free}))
    assert re.search(reason, build._failed(PINS.variant("cpu"), [tmp_path]).message)


def test_a_sif_of_a_target_that_was_not_built_is_made_of_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build, "cache", lambda: tmp_path)
    (tmp_path / "cpu-runtime.json").write_text(json.dumps(dataclasses.asdict(BUILT)))
    with pytest.raises(EnvironmentUnfit, match="the devel image of cpu is not built"):
        apptainer.build(PINS.variant("cpu"), "devel", print)


def test_the_definition_file_names_the_archive_and_the_digest() -> None:
    text = apptainer.render(BUILT, Path("/cache/cpu-runtime.tar"))
    assert text.startswith("Bootstrap: oci-archive\nFrom: /cache/cpu-runtime.tar\n")
    assert BUILT.digest in text
