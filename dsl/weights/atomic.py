"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["NewFile", "PendingFile", "replacing", "replacing_all"]


class PendingFile:
    """A new file that takes the place of another when `commit` is called.

    Until then it has no name where the file system allows it (Linux's O_TMPFILE): then nothing is left of it, however
    the process ends. Elsewhere it lies in the same folder. Who has the old file open or mapped keeps it.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self.path = path.resolve()  # a link stays one, what it leads to is replaced
        self._aside = self.path.with_name(f".{self.path.name[:80]}.{os.urandom(8).hex()}.tmp")
        self._is_named = False
        self.file: BinaryIO = self._unnamed() or self._named()

    def flush(self) -> None:
        """Have it on the disk. Raises OSError."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def commit(self) -> None:
        """Put it in place. Raises OSError."""
        self.flush()
        if not self._is_named:
            self._is_named = True
            self._give_name()
        os.replace(self._aside, self.path)
        self._is_named = False

    def discard(self) -> None:
        """Close it, and remove what has not been put in place."""
        with suppress(OSError):
            self.file.close()
        if self._is_named:
            with suppress(OSError):
                self._aside.unlink(missing_ok=True)

    def _unnamed(self) -> BinaryIO | None:
        if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
            return None
        try:
            return os.fdopen(os.open(self.path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666), "w+b")
        except OSError:  # not on this file system; what else may be wrong shows when a file with a name is made
            return None

    def _named(self) -> BinaryIO:
        self._is_named = True
        return open(self._aside, "x+b")

    def _give_name(self) -> None:
        handle = self.file.fileno()
        try:
            # linkat(2) follows the link only where a folder is given, which an absolute path makes no use of.
            os.link(f"/proc/self/fd/{handle}", self._aside, src_dir_fd=handle, follow_symlinks=True)
        except OSError:  # some sandboxes forbid it
            import shutil

            self.file.seek(0)
            with open(self._aside, "xb") as named:
                shutil.copyfileobj(self.file, named)
                named.flush()
                os.fsync(named.fileno())


class OpenFile:
    """What is no regular file (`/dev/null`, a named pipe) is written to and never replaced: that would take the device
    away from everybody."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self.file: BinaryIO = open(path, "wb")  # noqa: SIM115 - it is closed by commit or discard

    def flush(self) -> None:
        self.file.flush()

    def commit(self) -> None:
        self.file.close()

    def discard(self) -> None:
        with suppress(OSError):
            self.file.close()


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


NewFile = Callable[[Path], BinaryIO]
"""Makes a file that takes its place together with others. Raises OSError."""


@contextmanager
def replacing_all() -> Iterator[NewFile]:
    """New files that take their places when the block ends, in the order in which they were made; none of them does
    where the block fails. Raises OSError."""
    pending: list[PendingFile | OpenFile] = []

    def new(path: Path) -> BinaryIO:
        pending.append(OpenFile(path) if _is_special(path) else PendingFile(path))
        return pending[-1].file

    try:
        yield new
        for file in pending:
            file.flush()
        for file in pending:
            file.commit()
    finally:
        for file in pending:
            file.discard()


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the block ends, and is gone where the block fails. Raises
    OSError."""
    with replacing_all() as new:
        yield new(path)
