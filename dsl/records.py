"""Values that nobody changes, of which networks have many, and of whose classes the program has many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, dataclass_transform

__all__ = ["entity", "record"]

_T = TypeVar("_T")
_NOTHING = {"init": False, "repr": False, "eq": False, "match_args": False}
_ALWAYS: dict[str, dict[str, bool]] = {
    "__init__": {"init": True},
    "__match_args__": {"match_args": True},
    "__dataclass_fields__": {},
    "__dataclass_params__": {},
}
_SHOWN = {"__repr__": {"repr": True}}
_BY_VALUE = {"__eq__": {"eq": True}, "__hash__": {"eq": True, "unsafe_hash": True}}
"""What dataclasses is asked for to have each of a class's attributes."""


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(*, eq: bool = True, shown: bool = True) -> Callable[[type[_T]], type[_T]]:
    """A dataclass with slots, frozen for the type checker alone: to have the interpreter look as well takes two
    thirds of the time in which one is made. Without `eq` it is known by identity, and it is
    `shown` by its fields, or as its base says.

    What dataclasses writes for a class is written when it is first used. Most never is, and all of it together takes as
    long as everything else that is imported before an engine runs, or a spec is checked.
    """

    def make(cls: type[_T]) -> type[_T]:
        given = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
        fields = [n for n, t in given.get("__annotations__", {}).items() if not str(t).startswith("ClassVar")]
        kept = {name: value for name, value in given.items() if name not in fields}
        for name, wanted in (_ALWAYS | (_BY_VALUE if eq else {}) | (_SHOWN if shown else {})).items():
            if kept.get(name) is None:
                kept[name] = _Later(given, wanted)
        meta: Any = type(cls)
        made: type[_T] = meta(cls.__name__, cls.__bases__, {**kept, "__slots__": tuple(fields)})
        return made

    return make


@dataclass_transform(eq_default=False, field_specifiers=(field,))
def entity(cls: type[_T]) -> type[_T]:
    """The same for what is told apart by identity, shown as its base says, and may be changed."""
    return record(eq=False, shown=False)(cls)


class _Later:
    """In the place of what dataclasses writes: has it written, puts it there, and gives it."""

    __slots__ = ("_given", "_home", "_name", "_wanted")

    def __init__(self, given: dict[str, Any], wanted: dict[str, bool]) -> None:
        self._given = given
        self._wanted = wanted

    def __set_name__(self, owner: type, name: str) -> None:
        self._home = owner
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        draft = type(self._home.__name__, self._home.__bases__, dict(self._given))
        options: dict[str, Any] = _NOTHING | self._wanted
        setattr(self._home, self._name, vars(dataclass(**options)(draft))[self._name])
        return getattr(owner if instance is None else instance, self._name)
