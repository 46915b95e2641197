"""envcheck as one text that Python reads from a file or from its standard input: how it gets to a bare node."""

from __future__ import annotations

import base64
import io
import tarfile
from pathlib import Path

PROGRAM = """\
import base64, io, json, shutil, sys, tarfile, tempfile, time
{first}
if sys.version_info < (3, 9):
    sys.exit("envcheck needs Python 3.9 or later, this one is " + sys.version.split()[0])
folder = tempfile.mkdtemp(prefix="envcheck-")
try:
    safely = {{"filter": "data"}} if hasattr(tarfile, "data_filter") else {{}}
    tarfile.open(fileobj=io.BytesIO(base64.b64decode({archive!r}))).extractall(folder, **safely)
    sys.path.insert(0, folder)
    {then}
finally:
    shutil.rmtree(folder, ignore_errors=True)
"""
COMMAND_LINE = "from envcheck.__main__ import main; sys.exit(main())"


def program(then: str = COMMAND_LINE, first: str = "") -> str:
    """The text: it says `first`, unpacks envcheck into a folder of its own, does `then` and takes the folder away."""
    return PROGRAM.format(first=first, archive=_archive(), then=then)


def _archive() -> str:
    """envcheck itself as a compressed tar in base64; only its own files, and no compiled ones."""
    home, buffer = Path(__file__).absolute().parent, io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path in sorted(home.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.add(path, arcname=str(Path("envcheck") / path.relative_to(home)))
    return base64.b64encode(buffer.getvalue()).decode()
