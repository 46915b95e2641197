"""Of a worker's traceback, the frames a user can act on."""

from __future__ import annotations

import re
from pathlib import Path

import launcher
from launcher.cli.wording import clean_lines

_FRAME = re.compile(r'  File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<name>.+)')
_FOREIGN = re.compile(r"/(site|dist)-packages/|/lib/python3[^/]*/|^<frozen ")
_LAUNCHER = str(Path(launcher.__file__).parent) + "/"
MOST_FRAMES = 3


def own_frames(traceback: str) -> list[str]:
    """The last frames that are neither launcher's nor a library's, each `file:line in name` and its source line.

    Where every frame is foreign, the very last one, unless it is launcher's: its own frames say nothing to a user.
    """
    frames = _frames(traceback)
    own = [lines for file, lines in frames if not _FOREIGN.search(file) and not file.startswith(_LAUNCHER)]
    chosen = own[-MOST_FRAMES:] or [lines for file, lines in frames[-1:] if not file.startswith(_LAUNCHER)]
    return [line for lines in chosen for line in lines]


def _frames(traceback: str) -> list[tuple[str, list[str]]]:
    frames: list[tuple[str, list[str]]] = []
    wants_source = False
    for line in clean_lines(traceback):
        if match := _FRAME.fullmatch(line):
            frames.append((match["file"], [f"{match['file']}:{match['line']} in {match['name']}"]))
            wants_source = True
        elif wants_source and line.startswith("    "):
            frames[-1][1].append(f"    {line.strip()}")
            wants_source = False
        else:
            wants_source = False
    return frames
