"""Asks pip-audit which of an image's distributions have known vulnerabilities; an answer nobody gave is no pass."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from launcher import shell
from launcher.images.subject import Skipped, Subject, need

SHOWN = 5


def audit(subject: Subject) -> str:
    """A sentence when every distribution was looked up and none is known to be vulnerable.

    Skipped, with the reason, where the service cannot be asked or knows none of them.
    """
    if importlib.util.find_spec("pip_audit") is None:
        raise Skipped("pip-audit is not installed: pip install pip-audit")
    asked = {name: version for name, version in subject.distributions.items() if name != "launcher"}
    vulnerable, unknown = judge(_ask(asked))
    need(not vulnerable, f"known vulnerabilities: {', '.join(vulnerable)}")
    if unknown:
        some = ", ".join(unknown[:SHOWN]) + (", …" if len(unknown) > SHOWN else "")
        raise Skipped(f"the service could not say anything about {len(unknown)} of {len(asked)} distributions: {some}")
    return f"none known in {len(asked)} distributions"


def judge(report: str) -> tuple[list[str], list[str]]:
    """From pip-audit's JSON: what is vulnerable, with the advisories, and what nobody could judge."""
    rows = json.loads(report)["dependencies"]
    vulnerable = [
        f"{row['name']} {row['version']} ({', '.join(found['id'] for found in row['vulns'])})"
        for row in rows
        if row.get("vulns")
    ]
    return vulnerable, [row["name"] for row in rows if "skip_reason" in row]


def _ask(distributions: Mapping[str, str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder) / "requirements.txt"
        # The service knows releases, not the builds that a local version tells apart.
        request.write_text("".join(f"{name}=={version.partition('+')[0]}\n" for name, version in distributions.items()))
        options = ["--disable-pip", "--no-deps", "--progress-spinner", "off", "--format", "json"]
        done = shell.complete([sys.executable, "-m", "pip_audit", *options, "--requirement", str(request)])
    if not done.stdout.startswith("{"):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Skipped(f"the vulnerability service cannot be asked: {last[:200]}")
    return done.stdout
