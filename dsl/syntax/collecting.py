"""The garbage collector, kept out of the way of code that makes many objects and no cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

__all__ = ["no_collections"]

_lock = Lock()
_inside = 0
_was_enabled = False


@contextmanager
def no_collections() -> Iterator[None]:
    """Keeps the collector off until the last thread has left: trees and networks take half the time to build.

    What was made meanwhile counts as old from then on, or the next collection of young objects would look at all of it.
    """
    global _inside, _was_enabled
    with _lock:
        _inside += 1
        if _inside == 1:
            _was_enabled = gc.isenabled()
            gc.disable()
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _was_enabled:
                if not gc.get_freeze_count():  # somebody's frozen objects stay so
                    gc.freeze()
                    gc.unfreeze()
                gc.enable()
