"""Weights in another form than the plain one (transposed, channels last, blocked): each form once, whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["PackedWeights"]

SLAB = 64 << 20
"""Bytes of memory taken at once for forms of a quarter of it or less: large pieces come in huge pages, which is a third
of the time of as many small ones. What nobody writes to takes no memory."""
GRAIN = 64
"""What each form in a slab starts at a multiple of, in bytes."""


class _Form:
    """A form of an array, once it is made."""

    __slots__ = ("array", "lock", "made")

    def __init__(self, array: Any) -> None:
        self.array = array
        self.lock = threading.Lock()
        self.made: list[Any] = []


class PackedWeights:
    """Packed forms of arrays that stay where they are. The arrays are held, so that no other takes their address."""

    def __init__(self) -> None:
        self._forms: dict[tuple[int, str], _Form] = {}
        self._slab: Any = None
        """What is left of the last slab. It is there as long as any form in it."""
        self._lock = threading.Lock()

    def get(self, array: Any, address: int, form: str, make: Callable[[Any], Any]) -> Any:
        with self._lock:
            found = self._forms.get((address, form))
            if found is None:
                found = self._forms[address, form] = _Form(array)
        with found.lock:  # others make other forms meanwhile
            if not found.made:
                found.made.append(make(array))
            return found.made[0]

    def put(self, array: Any, address: int, form: str, made: Any) -> None:
        """Take a form of an array that is there already, if there is none yet."""
        with self._lock:
            found = self._forms.get((address, form))
            if found is None:
                found = self._forms[address, form] = _Form(array)
        with found.lock:
            if not found.made:
                found.made.append(made)

    def room(self, nbytes: int, allocate: Callable[[int], Any]) -> Any:
        """Memory for a form, uint8[nbytes], of what `allocate` gives or from a slab of that."""
        taken = nbytes + -nbytes % GRAIN
        if taken > SLAB // 4:
            return allocate(nbytes)
        with self._lock:
            if self._slab is None or len(self._slab) < taken:
                self._slab = allocate(SLAB)
            piece, self._slab = self._slab[:nbytes], self._slab[taken:]
            return piece

    def clear(self) -> None:
        with self._lock:
            self._forms.clear()
            self._slab = None
