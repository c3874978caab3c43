"""The one finder of plug-ins: a module of a package binds a constant, and that is all that it takes."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, Protocol, TypeVar

__all__ = ["Plugin", "find", "in_order", "later", "scan"]


class Plugin(Protocol):
    """What can be put in order: a name, and the names that come before."""

    name: str
    after: frozenset[str]


P = TypeVar("P", bound=Plugin)


def scan(package: ModuleType, constant: str) -> list[Any]:
    """What the modules of `package` bind to `constant`, by module name."""
    found = (_load(package, constant, module) for module in _modules(package))
    return [plugin for plugin in found if plugin is not None]


def find(package: ModuleType, constant: str, name: str) -> Any:
    """What the module `name` of `package` binds to `constant`, None where there is none. No other module of the package
    is imported, and `name` may come from anywhere."""
    return _load(package, constant, name) if name in _modules(package) else None


def later(package: str, module: str, name: str) -> Callable[..., Any]:
    """A function of a module of `package`, which is imported when it is first called: of many ways to do something a
    process needs few."""

    def call(*args: Any) -> Any:
        return getattr(importlib.import_module(f"{package}.{module}"), name)(*args)

    return call


def _modules(package: ModuleType) -> list[str]:
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__))


def _load(package: ModuleType, constant: str, module: str) -> Any:
    return getattr(importlib.import_module(f"{package.__name__}.{module}"), constant, None)


def in_order(plugins: Iterable[P]) -> tuple[P, ...]:
    """The plug-ins so that each comes after those that it names, and otherwise by name. Names that are not
    there don't count.

    Raises ValueError where two share a name or wait for each other.
    """
    waiting: dict[str, P] = {}
    for plugin in plugins:
        if plugin.name in waiting:
            raise ValueError(f"two plug-ins are called `{plugin.name}`")
        waiting[plugin.name] = plugin
    ordered: list[P] = []
    while waiting:
        ready = [name for name, plugin in waiting.items() if not plugin.after & waiting.keys()]
        if not ready:
            raise ValueError(f"plug-ins wait for each other: {', '.join(sorted(waiting))}")
        ordered.append(waiting.pop(min(ready)))
    return tuple(ordered)
