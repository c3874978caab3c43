"""A compiled kernel, and its binding to addresses."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from trtn.backend.binaries import BinaryKey
from trtn.backend.blocking import Blocking
from trtn.backend.devices import Device
from trtn.backend.machine_code import Function, binary_key, compile_object, load
from trtn.backend.providers.base import ForeignCall, Launch
from trtn.backend.providers.llvm.emitter import NAME
from trtn.backend.providers.llvm.family import Written

__all__ = ["LlvmKernel"]

_CALL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


@dataclass(frozen=True, eq=False)
class _Code:
    binary: bytes
    function: Function


_LOADED: WeakValueDictionary[BinaryKey, _Code] = WeakValueDictionary()
"""What is in use: kernels of several sizes have the same code."""


class LlvmKernel:
    """A function over the addresses of what `Written` says."""

    def __init__(self, written: Written, device: Device) -> None:
        self.workspace = written.workspace
        self._device = device
        self._packings = written.packings
        self.is_shared = written.shared
        """As `ForeignCall.shared`."""
        self.blockings = {n: form for n, form, _ in written.packings if isinstance(form, Blocking)}
        self._numbers = np.array(written.numbers, np.int64)
        self._key = binary_key(written.text if isinstance(written.text, str) else f"{sources()} {written.recipe}")
        self._code = _LOADED.get(self._key)
        if self._code is None:
            found = device.binaries.find(self._key) or _compiled(written)
            self._code = _LOADED[self._key] = _Code(found, load(found, NAME))
        self._function = self._code.function
        self._call = _CALL(self._function.address)

    def binaries(self) -> Mapping[BinaryKey, bytes]:
        assert self._code is not None
        return {self._key: self._code.binary}

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        room = self._device.room
        packed = [
            self._device.packed(inputs[n], str(form), partial(make, room=room)) for n, form, make in self._packings
        ]
        arrays = [*inputs, *outputs, *packed]
        if self.workspace:
            arrays.append(workspace)
        arrays.append(self._numbers)
        addresses = (ctypes.c_void_p * len(arrays))(*(a.__array_interface__["data"][0] for a in arrays))
        call, where = self._call, ctypes.addressof(addresses)

        def launch() -> None:
            if call(where, None):
                raise IndexError("an index is outside its axis")

        launch.held = (arrays, addresses, self._function)  # type: ignore[attr-defined]  # the addresses must stay
        launch.calls = [ForeignCall(self._function.address, (where, 0), shared=self.is_shared)]  # type: ignore[attr-defined]
        return launch


def _compiled(written: Written) -> bytes:
    text = written.text if isinstance(written.text, str) else written.text()
    return compile_object(text, level=0 if written.is_final else 3)


@cache
def sources() -> str:
    """The digest of this package: what becomes of a recipe."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
