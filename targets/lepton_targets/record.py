"""Immutable typed records that cost nothing to define.

To a type checker a subclass of Record is a frozen dataclass. At run time its methods are these few, where
`dataclasses` generates and compiles source for every class: a millisecond each on a small device, which has
ten for its whole first inference. Everything that a device loads at every start is a Record.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Self, dataclass_transform


@dataclass_transform(frozen_default=True)
class Record:
    """Fields are the subclass's own annotations, in order; class attributes are their defaults."""

    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        annotations = inspect.get_annotations(cls)
        cls._fields = (*cls._fields, *(n for n, kind in annotations.items() if "ClassVar" not in str(kind)))

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = self._fields
        if len(values) > len(fields):
            raise TypeError(
                f"{type(self).__name__} has {len(fields)} fields; {len(values)} values were given"
            )
        content = dict(zip(fields, values))
        for name, value in named.items():
            if name not in fields or name in content:
                raise TypeError(f"{type(self).__name__} got an unknown or repeated field '{name}'")
            content[name] = value
        for name in fields:
            if name not in content:
                try:
                    content[name] = getattr(type(self), name)
                except AttributeError:
                    raise TypeError(f"{type(self).__name__} lacks the field '{name}'") from None
        self.__dict__.update(content)

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Names of the fields, in order."""
        return cls._fields

    def as_dict(self) -> dict[str, Any]:
        """Field values by name; nested records stay records."""
        return {name: getattr(self, name) for name in self._fields}

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return type(self)(**{**self.as_dict(), **changes})

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable; use replace({name}=…) for a changed copy")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in self.as_dict().items())})"
