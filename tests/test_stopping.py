"""Who is asked to stop, and when nobody can be."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import lock, stopping
from launcher.errors import RequestError
from launcher.store import RunFolder

WATCHER = """
import signal, sys
from launcher import lock
from pathlib import Path
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
with lock.hold(Path(sys.argv[1])):
    print("held", flush=True)
    while not ended:
        signal.sigtimedwait([], 0.05)
"""


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[RunFolder, "subprocess.Popen[str]"]]:
    folder = RunFolder(tmp_path / "mlp-20260801T000000-0000")
    folder.path.mkdir()
    watcher = subprocess.Popen(
        [sys.executable, "-c", WATCHER, str(folder.lock)], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    assert watcher.stdout is not None and watcher.stdout.readline() == "held\n"
    yield folder, watcher
    watcher.kill()
    watcher.communicate()


def test_a_suspended_launcher_hears_that_it_is_to_stop(watched: tuple[RunFolder, "subprocess.Popen[str]"]) -> None:
    folder, watcher = watched
    subprocess.run(["kill", "-STOP", str(watcher.pid)], check=True)
    stopping.stop(folder.path, timeout=60)
    assert watcher.wait(10) == 0  # by its own handler, not killed


def test_a_number_of_another_containers_process_is_never_signalled(
    watched: tuple[RunFolder, "subprocess.Popen[str]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, watcher = watched
    monkeypatch.setattr(lock, "pid_space", lambda: "pid:[1]")
    with pytest.raises(RequestError, match="another container"):
        stopping.stop(folder.path, timeout=0)
    assert watcher.poll() is None


def test_a_lock_that_names_no_process_is_told_with_a_way_to_find_it(
    watched: tuple[RunFolder, "subprocess.Popen[str]"],
) -> None:
    folder, watcher = watched
    folder.lock.write_text(json.dumps({"host": "here"}))
    with pytest.raises(RequestError, match="which process") as refused:
        stopping.stop(folder.path, timeout=0)
    assert "fuser" in (refused.value.hint or "") and watcher.poll() is None
