"""Compiled code that need not be compiled again: it is found by what it was compiled from, by what, and for what."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trtn.backend.user_cache import cache_folder
from trtn.dsl.weights.atomic import replacing

__all__ = ["Binaries", "BinaryKey"]

_log = logging.getLogger(__name__)

HASH = 32
"""Bytes of the sha256 that a kept binary begins with."""


@dataclass(frozen=True, slots=True, order=True)
class BinaryKey:
    """What decides the bytes of a binary."""

    library: str
    """What compiled it, with its version: `nvrtc-13.0`."""
    target: str
    """What it runs on: an architecture, or a model of processor where it is good for no other."""
    digest: str
    """The sha256 of what it was compiled from, 64 hex digits."""


class Binaries:
    """The binaries that a device's kernels are made of: those of an engine file that is trusted, and those in the user's
    cache folder. They are code: nobody else's are taken. For any number of threads."""

    def __init__(self) -> None:
        self._held: Mapping[BinaryKey, memoryview] = {}

    def hold(self, held: Mapping[BinaryKey, memoryview]) -> None:
        """Take what a trusted engine file has."""
        self._held = held

    def find(self, key: BinaryKey) -> bytes | None:
        """The binary of a key, None where there is none, or a damaged one."""
        held = self._held.get(key)
        return _read(key) if held is None else bytes(held)

    def keep(self, binaries: Mapping[BinaryKey, bytes]) -> None:
        """Put what is not there yet into the user's cache folder, but nothing of an engine file's: that is trusted for
        this engine alone. One that can't be written is said so in the log, and nothing else."""
        for key, data in binaries.items():
            path = _path(key)
            if path is None or key in self._held or path.exists():
                continue
            try:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                with replacing(path) as file:
                    file.write(hashlib.sha256(data).digest() + data)
            except OSError as e:
                _log.warning("a compiled kernel can't be kept: %s", e)


def _read(key: BinaryKey) -> bytes | None:
    path = _path(key)
    if path is None:
        return None
    try:
        data = path.read_bytes()
    except OSError:
        return None
    body = data[HASH:]
    if hashlib.sha256(body).digest() != data[:HASH]:
        with suppress(OSError):
            path.unlink()
        return None
    return body


def _path(key: BinaryKey) -> Path | None:
    folder = cache_folder()
    name = hashlib.sha256("\n".join((key.library, key.target, key.digest)).encode()).hexdigest()
    return None if folder is None else folder / "binaries" / f"{name}.bin"
