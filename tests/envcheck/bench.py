"""A machine on paper: files under a root, variables and recorded commands, looked at by the real collectors."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from envcheck import facts
from envcheck.collect import collect
from envcheck.facts import Facts
from envcheck.machine import Absent, Completed, Machine
from envcheck.sections.need import Need

REPOSITORY = Path(__file__).parents[2]


class Bench:
    """Faults are planted in a fake root; `facts` runs the collectors over it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ: dict[str, str] = {}
        self.answers: dict[str, Completed] = {}
        self.need = Need()
        self.own: str | None = None
        self.given: dict[str, Any] = {}
        """Whole sections that are told and not collected."""
        self.earlier: list[str] = []
        """Folders Python searches before site-packages."""
        self.changes: dict[str, dict[str, Any]] = {}
        self.site = root / "site-packages"
        self.site.mkdir(parents=True, exist_ok=True)
        self.file("/proc/sys/kernel/hostname", "paper")
        self.file("/proc/sys/kernel/osrelease", "6.8.0-31-generic")
        self.folder("/dev")
        self.folder("/sys/bus/pci/devices")

    def file(self, path: str, text: str) -> None:
        where = self.root / path.lstrip("/")
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(text)

    def folder(self, path: str) -> None:
        (self.root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def remove(self, path: str) -> None:
        (self.root / path.lstrip("/")).unlink()

    def answer(self, command: str, stdout: str = "", stderr: str = "", returncode: int = 0) -> None:
        """What a command says; `command` is its first words, e.g. `nvidia-smi` or `cc --version`."""
        self.answers[command] = Completed(returncode, stdout, stderr)

    def distribution(self, name: str, version: str, metadata: str = "", record: str = "") -> None:
        """Install a distribution that is nothing but its metadata."""
        folder = f"/site-packages/{name.replace('-', '_')}-{version}.dist-info"
        self.file(f"{folder}/METADATA", f"Name: {name}\nVersion: {version}\n{metadata}")
        self.file(f"{folder}/RECORD", record)

    def wants(self, **needs: Any) -> None:
        self.need = dataclasses.replace(self.need, **needs)

    def change(self, section: str, **fields: Any) -> None:
        """Edit a collected section: for faults that only the hardware or an imported torch could show."""
        self.changes.setdefault(section, {}).update(fields)

    def facts(self, sections: Iterable[str]) -> Facts:
        machine = Machine(
            self.need, root=self.root, environ=self.environ, run=self._run, search_path=self.path(), own=self.own
        )
        seen = collect(machine, ("static",), only=set(sections))
        for name, section in self.given.items():
            seen = seen.with_section(name, section)
        for name, fields in self.changes.items():
            section = seen.get(name) or facts.SECTIONS[name]()
            seen = seen.with_section(name, dataclasses.replace(section, **fields))
        return seen

    def path(self) -> tuple[str, ...]:
        return (*self.earlier, str(self.site))

    def _run(self, argv: Sequence[str], seconds: float) -> Completed:
        line = " ".join(argv)
        for command in sorted(self.answers, key=len, reverse=True):
            if line.startswith(command):
                return self.answers[command]
        if argv[0] == sys.executable:
            raise Absent("pynvml is not installed")
        raise Absent(f"{argv[0]}: No such file or directory")


def real_facts(
    environ: Mapping[str, str] | None = None,
    wrapper: Sequence[str] = (),
    options: Sequence[str] = (),
    cwd: Path | None = None,
) -> Facts:
    """What envcheck sees of this very machine, run as a child: under `wrapper` (prlimit, unshare …) and `environ`."""
    if environ or wrapper or options or cwd:
        return _seen_by_a_child(environ or {}, wrapper, options, cwd or REPOSITORY)
    return _the_machine_as_it_is()


@functools.cache
def _the_machine_as_it_is() -> Facts:
    """The healthy twins that change nothing share one look."""
    return _seen_by_a_child({}, (), (), REPOSITORY)


def _seen_by_a_child(environ: Mapping[str, str], wrapper: Sequence[str], options: Sequence[str], cwd: Path) -> Facts:
    done = subprocess.run(
        [*wrapper, sys.executable, "-m", "envcheck", "--static", "--save", "-", *options],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environ},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return facts.from_json(json.loads(done.stdout))
