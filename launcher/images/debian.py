"""The base of every image: a Debian root bootstrapped from its packages, each checked against its record."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from launcher import shell
from launcher.errors import EnvironmentUnfit
from launcher.images.versions import Versions

HEADER = "# An image's base: name, version and sha256 of each package. Made by `launcher images lock --base`.\n"

# Who signed a named archive: this machine's own keys, and Debian's, which are not among them on an Ubuntu.
KEYRINGS = ("/etc/apt/trusted.gpg.d", "/usr/share/keyrings/debian-archive-keyring.gpg")

# What differs from one machine or minute to the next, and what nobody needs at run time. Not /tmp: mmdebstrap keeps
# there the configuration without which its own last apt-get would empty the package lists of the building machine.
LEAVE_OUT = [
    'rm -f "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/etc/apt/sources.list "$1"/etc/machine-id "$1"/etc/*-',
    'rm -rf "$1"/var/log/* "$1"/var/cache/* "$1"/run/*',
    'find "$1" -xdev -perm /6000 -type f -exec chmod ug-s {} +',
]


def bootstrap(versions: Versions, kind: str, folder: Path, archive: str | None = None) -> tuple[Path, str]:
    """Make the root file system of `runtime` or `devel`: its tar file, and the record of its packages.

    `archive` is the address of a package archive, a dated snapshot for instance; None takes this machine's own.
    """
    if shutil.which("mmdebstrap") is None:
        raise EnvironmentUnfit("mmdebstrap is missing: it makes the base image", hint="apt-get install mmdebstrap")
    target = folder / f"debian-{kind}.tar"
    with tempfile.TemporaryDirectory() as scratch:
        packages, built = Path(scratch) / "packages", Path(scratch) / "root.tar"
        argv = _command(versions, kind, built, packages, archive)
        done = shell.complete(argv, env={**os.environ, "SOURCE_DATE_EPOCH": str(versions.base["epoch"])})
        if done.returncode:
            last = "\n".join(done.stderr.strip().splitlines()[-5:])
            raise EnvironmentUnfit(f"the {kind} base could not be bootstrapped:\n{last}")
        shutil.move(built, target)
        return target, HEADER + _record(packages.read_text(encoding="utf-8"))


def differences(recorded: str, found: str) -> list[str]:
    """How the packages of a base differ from their record, one sentence a package."""
    before, after = _by_name(recorded), _by_name(found)
    return [
        f"{name} is {after.get(name, 'absent')}, recorded is {before.get(name, 'absent')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def sources(suite: str, archive: str | None = None) -> list[str]:
    """Where a suite's packages come from: `archive`, or this machine's own archives with their updates and fixes."""
    if archive:
        return [f"deb {archive} {suite} main"]
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    listed = shell.read(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI) $(COMPONENT)", "Created-By: Packages"],
        timeout=60,
    )
    rows = [line.split() for line in (listed or "").splitlines()]
    found = [f"deb {row[1]} {row[0]} main" for row in rows if len(row) == 3 and row[0] in wanted and row[2] == "main"]
    if not found:
        raise EnvironmentUnfit(
            f"this machine's package sources do not hold Debian {suite}", hint="name an archive with --archive ADDRESS"
        )
    return found


def record_path(root: Path, kind: str) -> Path:
    """Where the packages of a base are recorded."""
    return root / "images" / "locks" / f"debian-{kind}.txt"


def digest(file: Path) -> str:
    """The sha256 of a file, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _command(versions: Versions, kind: str, target: Path, packages: Path, archive: str | None) -> list[str]:
    suite = versions.base["suite"]
    # Before apt's lists go: of each installed package, what the archive says of that very version.
    ask = (
        'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-cache show $(dpkg-query --admindir="$1/var/lib/dpkg" '
        f"-W -f '${{Package}}=${{Version}} ') > {packages}"
    )
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(versions.base[kind])}",
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=Acquire::Check-Valid-Until "false"',
        *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "locale", "doc", "info")),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        *(f"--customize-hook={line}" for line in [ask, *LEAVE_OUT]),
        *(f"--keyring={place}" for place in KEYRINGS if Path(place).exists()),
        suite,
        str(target),
        *sources(suite, archive),
    ]


def _record(shown: str) -> str:
    """Of `apt-cache show`'s paragraphs: a line a package, sorted."""
    lines = set()
    for paragraph in shown.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields:
            lines.add(f"{fields['Package']} {fields['Version']} {fields['SHA256']}\n")
    return "".join(sorted(lines))


def _by_name(record: str) -> dict[str, str]:
    rows = [line.split(" ", 1) for line in record.splitlines() if line and not line.startswith("#")]
    return {row[0]: row[1] for row in rows}
