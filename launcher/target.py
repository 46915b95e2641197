"""`task.target`: where the user's code is. Checked before anything starts, without importing it."""

from __future__ import annotations

import ast
import difflib
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import RequestError
from launcher.spec import TaskSpec


@dataclass(frozen=True, kw_only=True)
class Target:
    """A file or an importable module, and a name in it; a script has none."""

    file: Path | None
    module: str | None
    name: str


def parse(text: str, job_dir: Path) -> Target:
    """Read `path/file.py:function` (relative to the job file), `package.module:function`, or `path/script.py`."""
    if text.endswith(".py"):
        return Target(file=job_dir / text, module=None, name="")
    place, _, name = text.rpartition(":")
    if place.endswith(".py"):
        return Target(file=job_dir / place, module=None, name=name)
    return Target(file=None, module=place, name=name)


def check(task: TaskSpec, job_path: Path) -> None:
    """Raises RequestError if the target's file is missing, does not parse or plainly lacks the name."""
    target = parse(task.target, job_path.parent)
    if target.file is None:
        return
    try:
        tree = ast.parse(target.file.read_bytes(), filename=str(target.file))
    except OSError as error:
        raise RequestError(
            f"{job_path} task.target: {target.file} cannot be read ({error.strerror})",
            hint="the path is relative to the job file",
        ) from error
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise RequestError(f"{target.file}:{line or 1} {error}", hint="the target must be valid Python") from error
    names = _top_level_names(tree)
    if target.name and target.name not in names and "*" not in names:
        nearest = difflib.get_close_matches(target.name, names, n=1)
        raise RequestError(
            f"{job_path} task.target: {target.file} has no {target.name}",
            hint=f"did you mean {nearest[0]}?" if nearest else f"it has {', '.join(sorted(names)) or 'nothing'}",
        )


def arguments(task: TaskSpec, job_path: Path) -> set[str] | None:
    """The names of the arguments that the target takes; None where it may take any, or that cannot be seen."""
    target = parse(task.target, job_path.parent)
    if target.file is None or not target.name:
        return None
    found = [node for node in ast.parse(target.file.read_bytes()).body if getattr(node, "name", None) == target.name]
    if len(found) != 1 or not isinstance(found[0], ast.FunctionDef) or found[0].args.kwarg:
        return None
    taken = found[0].args
    return {argument.arg for argument in (*taken.args, *taken.kwonlyargs)}


def _top_level_names(tree: ast.Module) -> set[str]:
    """Names a module binds at any depth outside functions and classes, so also under `if` and `try`."""
    names: set[str] = set()
    frontier: list[ast.AST] = list(tree.body)
    while frontier:
        node = frontier.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        else:
            frontier += ast.iter_child_nodes(node)
    return names
