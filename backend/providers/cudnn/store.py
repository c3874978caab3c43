"""Built plans on disk, in the user's cache folder: a plan of an earlier process is read back in a millisecond, where
compiling its kernels takes a good part of a second. They are code: read from this user's own folder, nowhere else."""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from pathlib import Path

from trtn.backend.user_cache import cache_folder
from trtn.dsl.weights.atomic import replacing

__all__ = ["find_plan", "keep_plan"]

_log = logging.getLogger(__name__)

HASH = 32


def find_plan(key: str) -> bytes | None:
    """The plan kept under a key, None where there is none, or a damaged one."""
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


def keep_plan(key: str, data: bytes) -> None:
    """Keep a plan that is not kept yet. A folder that can't be written is said so in the log, and nothing else."""
    path = _path(key)
    if path is None or path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(path) as file:
            file.write(hashlib.sha256(data).digest() + data)
    except OSError as e:
        _log.warning("a cuDNN plan can't be kept: %s", e)


def _path(key: str) -> Path | None:
    folder = cache_folder()
    return None if folder is None else folder / "cudnn" / f"{key}.plan"
