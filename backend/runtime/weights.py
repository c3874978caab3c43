"""An engine's weights as arrays of its device: plain, or as its file has them where every kernel reads them so."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

from trtn.backend.blocking import Blocking
from trtn.backend.devices.cpu import CPU
from trtn.backend.providers.base import Repacking
from trtn.dsl.network import Tensor, WeightSource

if TYPE_CHECKING:
    from trtn.backend.providers import Prepared
    from trtn.backend.runtime.engine import Engine

__all__ = ["PackedSource", "Weights", "blockings_read"]


@runtime_checkable
class PackedSource(Protocol):
    """A source of a weight's bytes that has them in the order of `blocking`, where there is one."""

    blocking: Blocking | None

    def packed(self) -> Any:
        """The packed array, flat."""
        ...


class Weights:
    """The weights of an engine. For any number of threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._plain: dict[int, Any] = {}
        self._stored: dict[int, Any] = {}
        self._lock = threading.Lock()

    def for_kernels(self, kernels: Sequence[Prepared | None]) -> dict[int, Any]:
        """Read-only arrays, by tensor id, for the kernels of a shape. Those of a loaded engine are mapped, not copied. An
        array of which all kernels read another form has no elements of meaning where the engine's file has that."""
        read = blockings_read(self._engine, kernels)
        return {id(t): self._array(t, read.get(id(t))) for t in self._engine.weights}

    def value(self, tensor: Tensor) -> Any:
        """One weight's values as a NumPy array; read anew where no kernel has them, so that saving never holds all."""
        loaded = self._plain.get(id(tensor)) if self._engine.device == "cpu" else None
        return _load(tensor) if loaded is None else loaded

    def _array(self, tensor: Tensor, wanted: Blocking | None) -> Any:
        hardware = self._engine.hardware
        assert tensor.weight is not None
        source = tensor.weight.source
        with self._lock:
            if wanted is not None and isinstance(hardware, CPU) and _has(source, wanted):
                if id(tensor) not in self._stored:
                    stored = hardware.stored(source.packed(), str(wanted), tensor.weight.shape)
                    self._stored[id(tensor)] = stored
                return self._stored[id(tensor)]
            if id(tensor) not in self._plain:
                self._plain[id(tensor)] = hardware.upload(_load(tensor))
            return self._plain[id(tensor)]


def blockings_read(engine: Engine, kernels: Sequence[Prepared | None]) -> Mapping[int, Blocking]:
    """The weights, by tensor id, that all who read them, the kernels of a shape, read in the same other order."""
    found: dict[int, Blocking | None] = {id(t): None for t in engine.network.outputs}
    for group, kernel in zip(engine.groups, kernels, strict=True):
        blockings: Mapping[int, Blocking] = kernel.blockings if isinstance(kernel, Repacking) else {}
        for n, t in enumerate(group.inputs):
            if t.weight is not None:
                blocking = blockings.get(n)
                if blocking is not None and prod(blocking.shape) != prod(t.weight.shape):
                    blocking = None  # it reads a part
                found[id(t)] = blocking if found.setdefault(id(t), blocking) == blocking else None
    return {key: blocking for key, blocking in found.items() if blocking is not None}


def _has(source: WeightSource, wanted: Blocking) -> TypeGuard[PackedSource]:
    return isinstance(source, PackedSource) and source.blocking == wanted


def _load(tensor: Tensor) -> Any:
    assert tensor.weight is not None
    return tensor.weight.load()
