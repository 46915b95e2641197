"""`python3 -m launcher.images [--variant NAME] [--driver VERSION] [--capability X.Y]...`: which lock ./install takes.

Prints the variant's name on standard output and the reason on standard error.
"""

from __future__ import annotations

import argparse
import platform
import sys

from launcher.errors import LauncherError
from launcher.images import versions


def main() -> int:
    parser = argparse.ArgumentParser(prog="install")
    parser.add_argument("--variant")
    parser.add_argument("--driver")
    parser.add_argument("--capability", action="append", default=[])
    request = parser.parse_args()
    try:
        variant, reason = _answer(request)
    except LauncherError as error:
        print(f"install: {error.message}", error.hint or "", sep="\n         ", file=sys.stderr)
        return error.exit_code
    print(f"install: taking {variant.name} (torch {variant.torch}): {reason}", file=sys.stderr)
    print(variant.name)
    return 0


def _answer(request: argparse.Namespace) -> tuple[versions.Variant, str]:
    pins = versions.read()
    host = versions.Host(
        machine=platform.machine(),
        driver=request.driver or None,
        capabilities=tuple(request.capability),
    )
    if request.variant is None:
        return pins.choose(host)
    variant = pins.variant(request.variant)
    unfit = versions.misfit(variant, host)
    return variant, "you asked for it" + (f", although {unfit}" if unfit else "")


if __name__ == "__main__":
    sys.exit(main())
