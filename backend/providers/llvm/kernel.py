"""A compiled kernel, and its binding to addresses."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from trtn.backend.binaries import BinaryKey
from trtn.backend.devices import Device
from trtn.backend.machine_code import binary_key, compile_object, load
from trtn.backend.providers.base import ForeignCall, Launch
from trtn.backend.providers.llvm.emitter import NAME
from trtn.backend.providers.llvm.family import Written

__all__ = ["LlvmKernel"]

_CALL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class LlvmKernel:
    """A function over the addresses of what `Written` says."""

    def __init__(self, written: Written, device: Device) -> None:
        self.workspace = written.workspace
        self._device = device
        self._packings = written.packings
        self._numbers = np.array(written.numbers, np.int64)
        self._key = binary_key(written.text)
        self._code = device.binaries.find(self._key) or compile_object(written.text)
        self._function = load(self._code, NAME)
        self._call = _CALL(self._function.address)

    def binaries(self) -> Mapping[BinaryKey, bytes]:
        return {self._key: self._code}

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        room = self._device.room
        packed = [self._device.packed(inputs[n], form, partial(make, room=room)) for n, form, make in self._packings]
        arrays = [*inputs, *outputs, *packed]
        if self.workspace:
            arrays.append(workspace)
        arrays.append(self._numbers)
        addresses = (ctypes.c_void_p * len(arrays))(*(a.__array_interface__["data"][0] for a in arrays))
        call, where = self._call, ctypes.addressof(addresses)

        def launch() -> None:
            if call(where):
                raise IndexError("an index is outside its axis")

        launch.held = (arrays, addresses, self._function)  # type: ignore[attr-defined]  # the addresses must stay
        launch.calls = [ForeignCall(self._function.address, (where,))]  # type: ignore[attr-defined]
        return launch
