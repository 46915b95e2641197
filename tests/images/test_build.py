"""What a build refuses before it begins, and what it writes beside the image."""

from pathlib import Path

import pytest

from launcher.errors import EnvironmentUnfit, RequestError
from launcher.images import apptainer, build, engine, materials, versions
from launcher.images.build import Built, Request
from launcher.images.locks import Pin

PINS = versions.read()
BUILT = Built(
    reference="launcher:cpu",
    digest="sha256:" + "a" * 64,
    config_digest="sha256:" + "b" * 64,
    lock_digest="sha256:" + "c" * 64,
    commit=None,
    size=1,
    archive="/cache/cpu-runtime.tar",
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

    monkeypatch.setattr("docker.from_env", refuse)
    with pytest.raises(EnvironmentUnfit, match=sentence):
        engine.connect()


def test_too_little_space_is_refused_before_anything_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 1 << 30}))
    with pytest.raises(EnvironmentUnfit, match="cu130 takes 20 GiB to build"):
        build._need_space(PINS.variant("cu130"), tmp_path)


def test_what_is_staged_has_modes_that_do_not_come_from_the_checkout(tmp_path: Path) -> None:
    root, bases = tmp_path / "root", {}
    for name in ("images/Dockerfile", "images/versions.toml", "launcher/__init__.py", "launcher/__pycache__/a.pyc"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
        (root / name).chmod(0o600)
    build._stage(root, tmp_path / "context", "lock", bases)
    staged = {
        str(path.relative_to(tmp_path / "context" / "project"))
        for path in (tmp_path / "context").rglob("*.*")
        if "project" in path.parts
    }
    assert staged == {"images/versions.toml", "launcher/__init__.py"}
    assert (tmp_path / "context/project/launcher/__init__.py").stat().st_mode & 0o777 == 0o644


def test_the_bill_of_materials_depends_on_nothing_but_the_image() -> None:
    pin = Pin(name="torch", version="2.13.0+cpu", marker="", hashes=("0" * 64,))
    made = [materials.bill(BUILT, [pin], f"# header\napt 2.6.1 {'1' * 64}\n") for _ in range(2)]
    assert made[0] == made[1]
    assert [part["purl"] for part in made[0]["components"]] == [
        "pkg:pypi/torch@2.13.0%2Bcpu",
        "pkg:deb/debian/apt@2.6.1",
    ]


def test_the_definition_file_names_the_archive_and_the_digest() -> None:
    text = apptainer.render(BUILT)
    assert text.startswith("Bootstrap: oci-archive\nFrom: /cache/cpu-runtime.tar\n")
    assert BUILT.digest in text
