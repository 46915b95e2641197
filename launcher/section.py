"""What every section of a job file is."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from annotated_types import Ge

Positive = Annotated[int, Ge(1)]


class Section:
    """Settings that a section is validated under: unknown keys and lax types are faults."""

    __slots__ = ()
    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "strict": True,
        "use_attribute_docstrings": True,
    }
