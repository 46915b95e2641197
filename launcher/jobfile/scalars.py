"""What an unquoted word of YAML means: the core rules of YAML 1.2, where `no` is text and `1e-3` a number."""

from __future__ import annotations

import math
import re

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def plain(text: str) -> str | int | float | bool | None:
    """The value of a plain (unquoted) scalar. Raises ValueError, with the remedy, where readers of YAML disagree."""
    if text in _WORDS:
        return _WORDS[text]
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a finite number; quote it if it is text")
    if len(text) > 100 and _FLOAT.fullmatch(text):
        raise ValueError("a number of more than 100 characters; quote it if it is text")
    if _INTEGER.fullmatch(text):
        return _decimal(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return _finite(text)
    return text


def _decimal(text: str) -> int:
    digits = text.lstrip("+-")
    if len(digits) > 1 and digits.startswith("0"):
        ten = digits.lstrip("0") or "0"
        raise ValueError(f"{text} is {ten} to some readers and octal to others; write {ten}, or quote it if it is text")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is larger than any number; quote it if it is text")
    return number
