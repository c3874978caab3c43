"""The CPU: NumPy arrays in the process's memory."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["CPU"]

ALIGNMENT = 64
"""A cache line, and the widest vector register."""


class CPU:
    name = "cpu"
    xp: Any = np

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.empty(shape, dtype)

    def arena(self, nbytes: int) -> Any:
        try:
            raw = np.empty(nbytes + ALIGNMENT, np.uint8)
        except ValueError as e:  # NumPy's word for sizes beyond the address space
            raise MemoryError(str(e)) from None
        start = -raw.ctypes.data % ALIGNMENT
        return raw[start : start + nbytes]

    def upload(self, array: Any) -> Any:
        view = array.view()
        view.flags.writeable = False
        return view

    def adopt(self, array: Any) -> Any:
        return array

    def owns(self, array: Any) -> bool:
        return isinstance(array, np.ndarray)
