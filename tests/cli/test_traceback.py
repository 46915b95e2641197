import traceback
from pathlib import Path

import launcher
from launcher.cli.traceback import own_frames

TRACEBACK = """Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/torch/x.py", line 3, in wrapper
    return f()
  File "/home/me/jobs/tasks/mlp.py", line 31, in loss
    check(labels)
  File "/home/me/jobs/tasks/data.py", line 7, in check
    raise ValueError("bad label 11")
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/venv/lib/python3.11/site-packages/torch/y.py", line 9, in f
    g()
ValueError: bad label 11
"""


def test_only_the_frames_of_the_user_are_shown() -> None:
    assert own_frames(TRACEBACK) == [
        "/home/me/jobs/tasks/mlp.py:31 in loss",
        "    check(labels)",
        "/home/me/jobs/tasks/data.py:7 in check",
        '    raise ValueError("bad label 11")',
    ]


def test_where_all_frames_are_foreign_the_last_is_shown() -> None:
    foreign = TRACEBACK.replace("/home/me", "/usr/lib/python3.11")
    assert own_frames(foreign)[0] == "/venv/lib/python3.11/site-packages/torch/y.py:9 in f"


def test_launchers_own_frames_are_never_shown() -> None:
    raised = (
        f'  File "{Path(launcher.__file__).parent}/worker/target.py", line 98, in _check\n    raise RequestError(\n'
    )
    assert own_frames(raised) == []


def test_a_traceback_of_this_python_is_understood() -> None:
    try:
        Path("/nowhere").read_text()
    except OSError:
        shown = own_frames(traceback.format_exc())
    assert shown == [
        f"{__file__}:{shown[0].split(':')[1].split()[0]} in {shown[0].split()[-1]}",
        '    Path("/nowhere").read_text()',
    ]


def test_what_is_no_traceback_shows_nothing() -> None:
    assert own_frames("") == own_frames("killed") == []
