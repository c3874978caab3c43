"""What a person sends us when trtn fails: traceback, versions, command line with bare file names. No contents."""

from __future__ import annotations

import os
import platform
import tempfile
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["PACKAGES", "installed", "write_bug_report"]

PACKAGES = (
    "trtn",
    "numpy",
    "onnx",
    "lark",
    "ml_dtypes",
    "safetensors",
    "typer",
    "rich",
    "onnxruntime",
    "cupy-cuda12x",
    "cupy-cuda13x",
)
"""What trtn works with. Those that are not installed are left out."""
_MESSAGE_LIMIT = 2000


def installed() -> dict[str, str]:
    """The versions of the packages that are there."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def write_bug_report(error: BaseException, arguments: Sequence[str]) -> Path | None:
    """A report in a new file in the folder for temporary files; None where it can't be written."""
    trace = traceback.TracebackException.from_exception(error)
    lines = [
        "command:  " + " ".join(map(_without_folders, arguments)),
        f"python:   {platform.python_version()} ({platform.python_implementation()})",
        f"platform: {platform.platform()}",
        *(f"{name}: {number}" for name, number in installed().items()),
        "",
        *_frames(trace),
    ]
    try:
        descriptor, name = tempfile.mkstemp(prefix="trtn-bug-", suffix=".txt", text=True)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("\n".join(lines) + "\n")
    except OSError:
        return None
    return Path(name)


def _without_folders(argument: str) -> str:
    """`x=/home/me/a.npy` as `x=a.npy`."""
    key, equals, value = argument.rpartition("=")
    return key + equals + os.path.basename(value.rstrip(os.sep))


def _frames(trace: traceback.TracebackException) -> list[str]:
    """The traceback, causes first, with files by their last three path parts."""
    lines = []
    cause = trace.__cause__ or (None if trace.__suppress_context__ else trace.__context__)
    if cause is not None:
        lines += [*_frames(cause), "", "which led to:", ""]
    for frame in trace.stack:
        lines.append(f"  {'/'.join(Path(frame.filename).parts[-3:])}:{frame.lineno} in {frame.name}: {frame.line}")
    message = "".join(trace.format_exception_only()).strip()
    return [*lines, message[:_MESSAGE_LIMIT]]
