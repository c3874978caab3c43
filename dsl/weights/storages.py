"""Weight files by their suffix, each opened once."""

from __future__ import annotations

import threading
from pathlib import Path

from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.weights.mapped import Bytes, StorageError, map_file
from trtn.dsl.weights.paths import OutsideFolder, confine
from trtn.dsl.weights.storage import RawFile, Storage

__all__ = ["SUFFIXES", "FileTable", "locate", "unknown_format"]

_RAW = (".bin", ".raw", ".data", ".onnx_data")
SUFFIXES = (".safetensors", ".npy", ".npz", ".onnx", *_RAW)
"""The weight files that can be read."""


def unknown_format(path: str) -> StorageError | None:
    """The error for a file whose suffix no reader takes, or None."""
    suffix = Path(path).suffix.lower()
    if suffix in SUFFIXES:
        return None
    if suffix in (".pt", ".pth", ".ckpt", ".pkl", ".pickle"):
        advice = "pickled files run code when they are read: save the weights as safetensors"
    else:
        advice = did_you_mean(suffix, SUFFIXES) or f"weight files are {', '.join(SUFFIXES)}"
    return StorageError("E0504", f"no reader for `{suffix or path}` files", help=advice)


def locate(root: Path, path: str, *, allow_outside: bool = False) -> Path:
    """The real path of a file that a manifest in folder `root` names; it need not exist.

    Raises StorageError: E0506 outside of the folder, E0504 where the text is no path or the suffix has no
    reader.
    """
    try:
        real = confine(root, path, allow_outside=allow_outside)
    except OutsideFolder:
        raise StorageError(
            "E0506",
            f"weight file `{path}` lies outside the manifest's folder",
            notes=(f"the folder is {root}",),
            help="move the file below the manifest's folder, or allow files outside of it (`--allow-outside`)",
        ) from None
    except ValueError as error:
        raise StorageError("E0504", str(error)) from None
    if (unknown := unknown_format(path)) is not None:
        raise unknown
    return real


class FileTable:
    """Opened weight files, shared by all who read from them; each is mapped once. Safe to use from several
    threads.

    A file that is replaced (renamed over) afterwards is not seen; one that is cut short in place must not be:
    its missing pages can't be read.
    """

    def __init__(self, *, allow_outside: bool = False) -> None:
        self._allow_outside = allow_outside
        self._lock = threading.RLock()
        self._maps: dict[Path, Bytes] = {}
        self._storages: dict[Path, Storage] = {}

    def map(self, path: Path) -> Bytes:
        """The file's bytes. Raises StorageError (E0504) where it is missing or can't be read."""
        with self._lock:
            if path not in self._maps:
                self._maps[path] = map_file(path)
            return self._maps[path]

    def open(self, path: Path, suffix: str | None = None) -> Storage:
        """The opened file. `suffix` is that of the name it is known by, where `path` is what a link of that
        name leads to.

        Raises StorageError (E0504) where it is missing, damaged, or of an unknown format.
        """
        with self._lock:
            if path not in self._storages:
                self._storages[path] = self._opened(path, suffix or path.suffix)
            return self._storages[path]

    def _opened(self, path: Path, suffix: str) -> Storage:
        # Formats are imported when a file of theirs is met: zipfile and json cost a start-up nothing here.
        octets = self.map(path)
        match suffix.lower():
            case ".safetensors":
                from trtn.dsl.weights.safetensors_file import open_safetensors

                return open_safetensors(path, octets)
            case ".npy":
                from trtn.dsl.weights.numpy_file import NpyFile

                return NpyFile(path, octets)
            case ".npz":
                from trtn.dsl.weights.numpy_file import open_npz

                return open_npz(path, octets)
            case ".onnx":
                from trtn.dsl.weights.onnx_file import open_onnx

                return open_onnx(path, octets, self.map, allow_outside=self._allow_outside)
            case raw if raw in _RAW:
                return RawFile(path, octets)
        raise unknown_format(path.name) or AssertionError(suffix)
