"""Files as read-only arrays of bytes, mapped and not read."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Bytes", "StorageError", "damaged", "forget", "map_file"]

Bytes: TypeAlias = "npt.NDArray[np.uint8]"


class StorageError(Exception):
    """A weight file that can't give a tensor: the code and the words of a diagnostic that has no span yet."""

    def __init__(self, code: str, message: str, *, notes: tuple[str, ...] = (), help: str = "") -> None:  # noqa: A002
        super().__init__(message)
        self.code = code
        self.message = message
        self.notes = notes
        self.help = help


def damaged(path: Path, what: str) -> StorageError:
    """The error for a file whose content contradicts itself."""
    return StorageError("E0504", f"`{path.name}` is damaged: {what}")


def map_file(path: Path) -> Bytes:
    """The file's bytes, read-only. The map lives as long as an array that views it, and survives the file's
    replacement.

    Raises StorageError (E0504) where there is no such file, it can't be read, or it isn't a regular file:
    opening a pipe or a device could wait forever, or never end.
    """
    import numpy as np

    try:
        # O_NONBLOCK: opening a pipe without a writer would hang before it can be refused.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise StorageError(
            "E0504", f"weight file `{path.name}` does not exist", notes=(f"looked for {path}",)
        ) from None
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _unreadable(path, "not a regular file")
        if status.st_size == 0:  # which mmap refuses
            return _frozen(np.empty(0, np.uint8))
        return _frozen(np.frombuffer(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ), np.uint8))
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    finally:
        os.close(descriptor)


def forget(array: npt.NDArray[Any]) -> None:
    """Give the memory of a contiguous array back that maps a file: it is read again where somebody looks. Others stay.

    Pages that were read count as the process's memory until the system needs them elsewhere; where a limit is set
    (containers, CI), a file larger than it could not be hashed.
    """
    import numpy as np

    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    if not isinstance(owner, mmap.mmap) or not memoryview(owner).readonly:  # what was written to a private map would go
        return
    start = array.ctypes.data - np.frombuffer(owner, np.uint8).ctypes.data
    first = start - start % mmap.PAGESIZE
    owner.madvise(mmap.MADV_DONTNEED, first, start + array.nbytes - first)


def _unreadable(path: Path, why: str) -> StorageError:
    return StorageError("E0504", f"weight file `{path.name}` can't be read: {why}")


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array
