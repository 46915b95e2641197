"""What every section of a job file is: a frozen dataclass, made by keywords.

The methods of all sections are written here, once. Having `dataclass` generate them for each of the thirty classes took
half the time of a command that reads a job file.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field
from typing import Annotated, Any, ClassVar, NoReturn, TypeVar, dataclass_transform

from launcher.bounds import at_least

Positive = Annotated[int, at_least(1)]

Kind = TypeVar("Kind", bound="Section")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def section(kind: type[Kind]) -> type[Kind]:
    """Make a dataclass of a `Section`."""
    kind.__doc__ = kind.__doc__ or kind.__name__  # else the signature is worked out, to stand there
    return dataclass(kw_only=True, init=False, repr=False, eq=False)(kind)


class Section:
    """Settings that a section is validated under: unknown keys and lax types are faults."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "strict": True,
        "use_attribute_docstrings": True,
    }

    def __init__(self, **given: Any) -> None:
        """Raises TypeError for a name that the section does not have, or needs and was not given."""
        fields = self.__dataclass_fields__
        if unknown := given.keys() - fields:
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        vars(self).update({name: given[name] if name in given else _default(each) for name, each in fields.items()})

    def __setattr__(self, name: str, _value: Any) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"cannot delete {name}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    if field.default is MISSING:
        raise TypeError(f"{field.name} is missing")
    return field.default
