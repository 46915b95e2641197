"""What a check is: a small pure function of named sections of the facts, its remedy, and the judging of many."""

from __future__ import annotations

import enum
import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Union

from envcheck.sections import TIERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envcheck.facts import Facts


class Status(enum.Enum):
    """The four outcomes, worst first."""

    FAIL = "fail"
    WARN = "warn"
    UNKNOWN = "unknown"
    PASS = "pass"  # noqa: S105 - an outcome, no password


@dataclass(frozen=True)
class Verdict:
    """What a check concluded, the sentence that says what it saw, and values its remedy may name."""

    status: Status
    saw: str
    values: Mapping[str, object] = field(default_factory=dict)


NO_GPU = "no NVIDIA GPU here: nothing to judge"

Outcome = Union[None, str, Verdict]
"""None is fine; a sentence is the check's own severity; a Verdict is whatever it says."""


def fail(saw: str, **values: object) -> Verdict:
    return Verdict(Status.FAIL, saw, values)


def warn(saw: str, **values: object) -> Verdict:
    return Verdict(Status.WARN, saw, values)


def unknown(saw: str) -> Verdict:
    return Verdict(Status.UNKNOWN, saw)


def fine(saw: str) -> Verdict:
    """PASS with a sentence: why there was nothing to judge, or what looks like a fault and is none."""
    return Verdict(Status.PASS, saw)


@dataclass(frozen=True)
class Check:
    """A judgement with its id (`DRV001`), family, one-line title, the reason it matters and a remedy to paste."""

    id: str
    family: str
    title: str
    reason: str
    remedy: str
    severity: Status
    modes: tuple[str, ...]
    requires: tuple[str, ...]
    wishes: tuple[str, ...]
    only_with_gpus: bool
    judge: Callable[..., Outcome]

    @property
    def tier(self) -> str:
        """The tier that collects what the check requires: `static` unless a section says otherwise."""
        return next((TIERS[name] for name in self.requires if name in TIERS), "static")


@dataclass(frozen=True)
class Result:
    """One check's outcome on one set of facts; `remedy` is empty unless there is something to do."""

    id: str
    family: str
    title: str
    status: Status
    saw: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        return {**vars(self), "status": self.status.value}


REGISTRY: dict[str, Check] = {}


def check(
    id: str,
    *,
    remedy: str,
    severity: Status = Status.FAIL,
    modes: tuple[str, ...] = (),
    only_with_gpus: bool = False,
) -> Callable[[Callable[..., Outcome]], Callable[..., Outcome]]:
    """Register a function of facts as the check `id`.

    Its parameters name the sections it requires (those with a default: the ones it can do without), its docstring's
    first line is the title and the rest the reason. `modes` are the failure modes (F01…F102) it claims to catch.
    Where `only_with_gpus` holds, a machine known to have no NVIDIA GPU passes with nothing to judge, and one whose
    GPUs give no answer is UNKNOWN.
    """

    def register(judge: Callable[..., Outcome]) -> Callable[..., Outcome]:
        if id in REGISTRY:
            raise ValueError(f"two checks have the id {id}: {REGISTRY[id].judge.__name__} and {judge.__name__}")
        title, _, reason = inspect.cleandoc(judge.__doc__ or "").partition("\n")
        code = judge.__code__
        names = code.co_varnames[: code.co_argcount]
        required = len(names) - len(judge.__defaults__ or ())
        REGISTRY[id] = Check(
            id=id,
            family=judge.__module__.rpartition(".")[2].partition("_")[0],
            title=title.rstrip("."),
            reason=reason.strip(),
            remedy=remedy,
            severity=severity,
            modes=modes,
            requires=names[:required],
            wishes=names[required:],
            only_with_gpus=only_with_gpus,
            judge=judge,
        )
        return judge

    return register


def applicable(chosen: Iterable[Check], facts: Facts) -> list[Check]:
    """The checks whose sections belong to the tiers that were collected; the others were not asked for."""
    return [one for one in chosen if one.tier in facts.tiers]


def judge(facts: Facts, checks: Iterable[Check]) -> list[Result]:
    """Judge the facts by every check given; a check that cannot see, or that crashes, is UNKNOWN and never PASS."""
    return [_judge_one(one, facts) for one in checks]


def _judge_one(one: Check, facts: Facts) -> Result:
    for section in one.requires:
        if facts.get(section) is None:
            return _result(one, unknown(f"cannot see {section}: {facts.why_absent(section)}"))
    if one.only_with_gpus and not facts.get("gpus").devices:
        error = facts.get("gpus").error
        return _result(one, unknown(f"no GPU answered: {error}") if error else fine(NO_GPU))
    sections: dict[str, Any] = {name: facts.get(name) for name in one.requires + one.wishes}
    try:
        outcome = one.judge(**sections)
        return _result(one, _as_verdict(outcome, one))
    except Exception as error:
        return _result(one, unknown(f"the check itself failed: {type(error).__name__}: {error}"))


def _as_verdict(outcome: Outcome, one: Check) -> Verdict:
    if outcome is None:
        return Verdict(Status.PASS, "")
    return outcome if isinstance(outcome, Verdict) else Verdict(one.severity, outcome)


def _result(one: Check, verdict: Verdict) -> Result:
    actionable = verdict.status in (Status.FAIL, Status.WARN)
    remedy = one.remedy.format(**verdict.values) if actionable else ""
    return Result(one.id, one.family, one.title, verdict.status, verdict.saw, remedy)
