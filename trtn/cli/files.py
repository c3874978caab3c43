"""Output files: looked at before the work that fills them, there whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from trtn.cli.failures import usage_error
from trtn.dsl.weights.atomic import replacing

__all__ = ["check_writable", "replace_text"]


def replace_text(path: Path, text: str) -> None:
    """Writes UTF-8 text in place of a file, which keeps its permissions. Raises OSError."""
    with replacing(path) as file:
        with suppress(FileNotFoundError):
            os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
        file.write(text.encode())


def check_writable(path: str, option: str = "--output") -> None:
    """Refuses an output file that can't be written, before the work for it is done."""
    if not path:
        raise usage_error("the name of the file is empty", option)
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise usage_error(f"`{path}` is a folder", option)
    if not os.path.isdir(folder):
        raise usage_error(f"the folder of `{path}` does not exist", option)
    if not os.access(folder, os.W_OK):
        raise usage_error(f"the folder of `{path}` can't be written to", option)
