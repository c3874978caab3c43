"""Which function imports which op: `@onnx_op("Conv", since=1)` on a function that takes a Call and gives tensors."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from trtn.dsl.network import Tensor

if TYPE_CHECKING:
    from trtn.dsl.convert.onnx.call import Call

__all__ = [
    "Handler", "Results", "TensorList", "Unsupported", "elaborate", "find_handler", "is_elaborate", "known_ops",
    "listed", "onnx_op", "refuse",
]  # fmt: skip


class TensorList(tuple[Tensor, ...]):
    """A value of ONNX's type sequence."""

    __slots__ = ()


Results: TypeAlias = "Tensor | TensorList | Sequence[Tensor | None]"
Handler: TypeAlias = "Callable[[Call], Results]"
Predicate: TypeAlias = Callable[[Any], bool]

_HANDLERS: dict[tuple[str, str], list[tuple[int, Handler]]] = {}
_ELABORATE: dict[tuple[str, str], Predicate] = {}


class Unsupported(Exception):
    """A node that can't be imported, and why, in words that stand after `Op node: `."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def listed(results: Results) -> list[Tensor | None]:
    """The tensors that a handler gave, as a list."""
    return [results] if isinstance(results, Tensor) else list(results)


def elaborate(name: str, domain: str = "") -> Callable[[Predicate], Predicate]:
    """Register a test that says of a NodeProto whether the op's definition serves better than its handler."""

    def register(predicate: Predicate) -> Predicate:
        _ELABORATE[domain, name] = predicate
        return predicate

    return register


def is_elaborate(node: Any, domain: str) -> bool:
    """Whether a node asks for more than its op's handler does."""
    _load_families()
    predicate = _ELABORATE.get((domain, node.op_type))
    return predicate is not None and predicate(node)


def refuse(reason: str) -> NoReturn:
    raise Unsupported(reason)


def onnx_op(*names: str, since: int = 1, domain: str = "") -> Callable[[Handler], Handler]:
    """Register a handler for ops from a version of their domain's opset on, until a later registration takes over."""

    def register(handler: Handler) -> Handler:
        for name in names:
            versions = _HANDLERS.setdefault((domain, name), [])
            assert all(v != since for v, _ in versions), f"{name} since {since} is registered twice"
            versions.append((since, handler))
            versions.sort(key=lambda entry: entry[0])
        return handler

    return register


@cache
def _load_families() -> None:
    import trtn.dsl.convert.onnx as package

    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name.startswith("ops_")):
        importlib.import_module(f"{package.__name__}.{module}")


def find_handler(op: str, domain: str, opset: int) -> Handler | None:
    """The handler for an op at a version of its domain, or None."""
    _load_families()
    found = None
    for since, handler in _HANDLERS.get((domain, op), ()):
        if since <= opset:
            found = handler
    return found


def known_ops() -> tuple[tuple[str, str], ...]:
    """Every (domain, op) that has a handler at some version, sorted."""
    _load_families()
    return tuple(sorted(_HANDLERS))
