"""What a provider is: a library or code generator that offers tactics for fusion groups and makes kernels of them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from trtn.backend.devices import Device
from trtn.backend.group import Group

__all__ = ["Kernel", "Launch", "Provider", "Tactic", "discover", "find_provider"]

Launch = Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]
"""`launch(inputs, outputs) -> outputs`, for the sizes that it was bound for. An output that is None is allocated by
the launch."""


@dataclass(frozen=True, slots=True)
class Tactic:
    """One way to run a group: a stable textual id, the scratch memory that it takes, how its numbers relate to the
    reference's."""

    name: str
    workspace: int = 0
    numerics: str = "exact"
    """`exact`, `reassociated` or `reduced` (lower precision inside)."""


class Kernel(Protocol):
    """A group made ready for a device. `bind` fixes the dims' values; what it gives is called once a run."""

    def bind(self, sizes: Mapping[str, int]) -> Launch: ...


class Provider(Protocol):
    """A module of this package that binds PROVIDER to one of these is all that it takes."""

    name: str
    after: frozenset[str]
    is_reference: bool

    def unavailable(self, device: str) -> str | None:
        """Why the provider can't be used on this machine and device, or None."""
        ...

    def version(self) -> str:
        """The version of the library behind it and of our own part: timings and locks of another one don't count."""
        ...

    def tactics(self, group: Group) -> Sequence[Tactic]:
        """The ways in which it runs a group; empty where the group is not for it."""
        ...

    def refusal(self, group: Group) -> str:
        """Why `tactics` is empty for a group."""
        ...

    def compile(self, group: Group, tactic: Tactic, device: Device) -> Kernel: ...


@cache
def discover() -> tuple[Provider, ...]:
    """Every provider of this package, those that the others come `after` first."""
    import trtn.backend.providers as package

    found: dict[str, Provider] = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        provider = getattr(importlib.import_module(f"{package.__name__}.{info.name}"), "PROVIDER", None)
        if provider is not None:
            found[provider.name] = provider
    ordered: list[Provider] = []
    while found:
        ready = sorted(n for n, p in found.items() if not p.after & found.keys())
        assert ready, f"providers wait for each other: {sorted(found)}"
        ordered.append(found.pop(ready[0]))
    return tuple(ordered)


def find_provider(name: str) -> Provider | None:
    return next((p for p in discover() if p.name == name), None)
