"""The reference of the job file, `docs/job-file.md`, written from the spec itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from launcher import jobfile
from launcher.jobfile.wording import expected, keys, section_of
from launcher.spec import JobSpec

INTRODUCTION = """\
# The job file

A job file says what to train, on what, and for how long. It is one YAML document; `launcher validate SPEC` checks it
and `launcher schema` prints its JSON Schema for editors. The smallest one:

```yaml
name: mlp
task:
  target: tasks/mlp.py:build
training:
  epochs: 3
```

Any key can be set for one run on the command line: `--set training.epochs=5`, `--set task.args.lr=1e-3`,
`--set 'task.args.sizes=[64, 32]'`, `--set early_stop=null`. The last one wins.

## How it is read

- Unknown keys, keys given twice, wrong types and values out of bounds are faults. All of them are listed at once, each
  with its line; the command ends with exit code 2 and nothing is started.
- Unquoted words follow YAML 1.2: `no`, `yes`, `on` and `off` are text, `1e-3` is a number, dates are text.
- `010` (octal to some readers), `.inf` and `.nan`, tags such as `!!python/name` and merged keys (`<<`) are refused.
- Text is never made of a number: `env: {A: 1}` is a fault, `env: {A: "1"}` is not.
- Give exactly one of `training.epochs` and `training.steps`; a script may do without both.
- `checkpoint.best` and `early_stop` on a metric that sounds as if larger were better (`accuracy`, `f1`, …) must say
  their `mode`.
- `env` cannot set what launcher sets for each process: `RANK`, `WORLD_SIZE`, `MASTER_ADDR` and their like, `LAUNCHER_…`
  and `TORCHELASTIC_…`.
- A file may have 1 MiB, 32 levels and 100,000 values, with all aliases written out.
"""


def markdown() -> str:
    """The whole page."""
    described = jobfile.schema()
    return INTRODUCTION + "".join(_section(JobSpec, described, described, ""))


def _section(section: type, described: dict[str, Any], whole: dict[str, Any], name: str) -> Iterator[str]:
    """A table of the section's keys, then the sections in it."""
    title = f"`{name}`" if name else "Top level"
    yield f"\n## {title}\n\n| key | takes | default | meaning |\n|---|---|---|---|\n"
    inner: list[tuple[type, str]] = []
    for key, annotation in keys(section).items():
        path = f"{name}.{key}" if name else key
        takes = expected(annotation)
        if within := section_of(annotation):
            inner.append((within, path))
            takes = f"[a section](#{path.replace('.', '')})"
        meaning = described["properties"][key].get("description", "").replace("|", "\\|").replace("\n", " ")
        yield f"| `{key}` | {takes} | {_default(key, described)} | {meaning} |\n"
    for within, path in inner:
        yield from _section(within, whole["$defs"][within.__name__], whole, path)


def _default(key: str, described: dict[str, Any]) -> str:
    about = described["properties"][key]
    if key in described.get("required", []):
        return "*required*"
    if "default" not in about:
        return "empty" if about.get("type") == "object" else "see its keys"
    default = about["default"]
    return "none" if default is None else f"`{default if isinstance(default, str) else json.dumps(default)}`"
