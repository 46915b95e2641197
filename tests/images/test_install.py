"""What ./install takes, and what it refuses, up to the point where it would install."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.images.versions import ROOT

SMI = """#!/bin/sh
case "$*" in
    *driver_version*) printf '%s\\n' {driver} ;;
    *compute_cap*) printf '%s\\n' {capabilities} ;;
esac
"""

pytestmark = pytest.mark.skipif(Path("/proc/driver/nvidia/version").exists(), reason="a real driver would answer first")


def install(*options: str, smi: str | None = None, folder: Path) -> subprocess.CompletedProcess[str]:
    if smi:
        (folder / "nvidia-smi").write_text(smi)
        (folder / "nvidia-smi").chmod(0o755)
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(
        [ROOT / "install", *options], env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_without_a_driver_it_takes_the_cpu_lock_and_says_why(tmp_path: Path) -> None:
    done = install("--which", folder=tmp_path)
    assert "taking cpu" in done.stderr
    assert "there is no NVIDIA driver" in done.stderr


@pytest.mark.parametrize(
    ("driver", "capabilities", "taken"),
    [
        ("580.95.05", "9.0 9.0", "cu130"),
        ("550.54.14", "8.0", "cu128"),
        ("470.57.02", "8.0", "cpu"),
        ("'[N/A]'", "8.0", "cpu"),
    ],
)
def test_a_driver_decides_the_lock(driver: str, capabilities: str, taken: str, tmp_path: Path) -> None:
    done = install("--which", smi=SMI.format(driver=driver, capabilities=capabilities), folder=tmp_path)
    assert f"taking {taken} " in done.stderr


def test_it_can_be_told_otherwise_and_says_what_speaks_against_it(tmp_path: Path) -> None:
    done = install("--which", "--variant", "cu130", folder=tmp_path)
    assert "taking cu130 (torch 2.13.0): you asked for it, although there is no NVIDIA driver" in done.stderr


@pytest.mark.parametrize("options", [["--variant", "cpux"], ["--variant"], ["--wich"]])
def test_a_wrong_request_ends_with_2(options: list[str], tmp_path: Path) -> None:
    assert install(*options, folder=tmp_path).returncode == 2


def test_the_choice_needs_nothing_but_the_standard_library() -> None:
    argv = [sys.executable, "-S", "-m", "launcher.images"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "cpu\n")
