"""What a new lock changes is told; the date of a lock moves only when asked."""

import datetime
import shutil
from pathlib import Path

import pytest

from launcher.errors import EnvironmentUnfit
from launcher.images import debian, locking, locks, versions, wheels

DIGEST = "0" * 64
LOCK = f"click==8.5.1 \\\n    --hash=sha256:{DIGEST}\nrich==15.0.0 \\\n    --hash=sha256:{DIGEST}\n"


def test_a_changed_version_a_changed_digest_and_a_new_distribution_are_told() -> None:
    after = (
        LOCK.replace("8.5.1", "8.6.0").replace(f"{DIGEST}\n", f"{'1' * 64}\n")
        + f"torch==2.13.0 \\\n    --hash=sha256:{DIGEST}\n"
    )
    assert locking.differences(LOCK, after) == [
        "click 8.5.1 -> 8.6.0",
        "rich 15.0.0: other digests or marker",
        "torch absent -> 2.13.0",
    ]


def test_upgrading_admits_releases_up_to_the_age_limit(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    shutil.copy(versions.ROOT / "images" / "versions.toml", tmp_path / "images")
    locking.write_age_limit(tmp_path, locking.upgraded(versions.read(tmp_path), datetime.date(2027, 3, 15)))
    assert versions.read(tmp_path).locks["released_before"] == datetime.date(2027, 3, 1)


def test_a_base_that_differs_from_its_record_says_in_which_package() -> None:
    recorded = f"# header\napt 2.6.1 {DIGEST}\nbash 5.2 {DIGEST}\n"
    found = f"apt 2.6.2 {DIGEST}\nbash 5.2 {DIGEST}\n"
    assert debian.differences(recorded, found) == [f"apt is 2.6.2 {DIGEST}, recorded is 2.6.1 {DIGEST}"]


def test_debians_keys_are_taken_from_wherever_this_machine_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "KEYRINGS", (str(tmp_path), str(tmp_path / "absent.gpg")))
    argv = debian._command(versions.read(), "runtime", tmp_path / "tar", tmp_path / "packages", "http://archive")
    assert [word for word in argv if "keyring" in word] == [f"--keyring={tmp_path}"]


@pytest.mark.parametrize("kind", ["runtime", "devel"])
def test_every_package_of_a_base_is_recorded_with_its_digest(kind: str) -> None:
    lines = debian.record_path(versions.ROOT, kind).read_text().splitlines()[1:]
    names = {line.split()[0] for line in lines}
    assert set(versions.read().base[kind]) <= names
    assert all(len(line.split()) == 3 and len(line.split()[2]) == 64 for line in lines)


@pytest.mark.parametrize(
    ("marker", "machine", "applies"),
    [
        ("", "aarch64", True),
        ("sys_platform == 'win32'", "x86_64", False),
        ("platform_machine == 'x86_64' and sys_platform == 'linux'", "aarch64", False),
        (
            "(platform_machine == 'aarch64' or platform_machine == 'x86_64') and sys_platform == 'linux'",
            "aarch64",
            True,
        ),
    ],
)
def test_a_marker_says_for_which_machine_a_pin_is(marker: str, machine: str, applies: bool) -> None:
    pin = locks.Pin(name="a", version="1", marker=marker, hashes=())
    assert locks.applies(pin, machine) is applies


def test_a_wheel_counts_by_its_digest_not_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "click-8.5.1-py3-none-any.whl").write_bytes(b"not click")
    assert wheels.missing(LOCK, "x86_64", tmp_path) == ["click", "rich"]


def test_without_uv_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_args, **_options: None)
    with pytest.raises(EnvironmentUnfit, match="uv is missing"):
        locking.make(versions.ROOT, versions.read())


def test_the_same_condition_in_other_words_is_no_change() -> None:
    pin = "torch==1.0 ; {} \\\n    --hash=sha256:" + "a" * 64 + "\n"
    short = "(platform_machine == 'aarch64' or platform_machine == 'x86_64') and sys_platform == 'linux'"
    long = " or ".join(f"(platform_machine == '{one}' and sys_platform == 'linux')" for one in ("aarch64", "x86_64"))
    assert locking.differences(pin.format(short), pin.format(long)) == []
    assert locking.differences(pin.format(short), pin.format("sys_platform == 'linux'")) != []
