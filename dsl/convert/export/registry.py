"""Which function writes which op of the catalogue."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, NoReturn, TypeAlias

if TYPE_CHECKING:
    from trtn.dsl.convert.export.site import Site

__all__ = ["Handler", "Unexportable", "find_handler", "refuse", "writes"]

Handler: TypeAlias = "Callable[[Site], object]"
"""Adds the nodes of one layer. What it returns is not used."""

_HANDLERS: dict[str, Handler] = {}


class Unexportable(Exception):
    """A layer that has no ONNX form at the chosen opset, and why, in words that stand after `op layer: `."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def refuse(reason: str) -> NoReturn:
    raise Unexportable(reason)


def writes(*ops: str) -> Callable[[Handler], Handler]:
    """Register the function that writes layers of these ops."""

    def register(handler: Handler) -> Handler:
        for op in ops:
            assert op not in _HANDLERS, f"{op} is written twice"
            _HANDLERS[op] = handler
        return handler

    return register


@cache
def _load_families() -> None:
    import trtn.dsl.convert.export as package

    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name.startswith("ops_")):
        importlib.import_module(f"{package.__name__}.{module}")


def find_handler(op: str) -> Handler | None:
    """The function for an op of the catalogue, or None."""
    _load_families()
    return _HANDLERS.get(op)
