"""Weights in another form than the plain one (transposed, channels last, blocked): each form once, whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["PackedWeights"]


class PackedWeights:
    """Packed forms of arrays that stay where they are. The arrays are held, so that no other takes their address."""

    def __init__(self) -> None:
        self._forms: dict[tuple[int, str], tuple[Any, Any]] = {}
        self._lock = threading.RLock()

    def get(self, array: Any, address: int, form: str, make: Callable[[Any], Any]) -> Any:
        with self._lock:
            found = self._forms.get((address, form))
            if found is None:
                found = self._forms[address, form] = (array, make(array))
            return found[1]

    def clear(self) -> None:
        with self._lock:
            self._forms.clear()
