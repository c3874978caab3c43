"""Files as they were at a revision of git: `HEAD~1:specs/bert.trtn`."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import SpecError

__all__ = ["checked_out", "exists", "is_revision"]


def is_revision(name: str) -> bool:
    """Whether a name is meant as `REV:path` and not as a file."""
    revision, colon, path = name.partition(":")
    return bool(colon and revision and path) and not os.path.exists(name) and not name.startswith("-")


@contextmanager
def checked_out(name: str, repository: str | Path = ".") -> Iterator[Path]:
    """The path of a file or folder as it was at a revision, in a folder that goes when the block ends.

    A spec may name others in and under its own folder: all text files there come along. Weights' bytes do not, so such
    a spec can be read and compared, not built. Raises SpecError where git does not have it.
    """
    revision, _, path = name.partition(":")
    root = _git(repository, "rev-parse", "--show-toplevel", what=name).decode().strip()
    here = os.path.relpath(os.path.join(os.path.realpath(repository), path), root)
    if here.startswith(".."):
        raise _refused(name, "the path lies outside of the repository")
    kind = _git(root, "cat-file", "-t", f"{revision}:{'' if here == '.' else here}", what=name).decode().strip()
    folder = here if kind == "tree" else os.path.dirname(here)
    listed = _git(root, "ls-tree", "-r", "-z", "--name-only", revision, "--", folder or ".", what=name)
    wanted = [p for p in listed.decode().split("\0") if p.endswith(".trtn") or p == here]
    with TemporaryDirectory(prefix="trtn-") as scratch:
        archive = _git(root, "archive", "--format=tar", revision, "--", *wanted, what=name)
        _unpack(archive, scratch)
        yield Path(scratch) / here


def exists(name: str, repository: str | Path = ".") -> bool:
    """Whether git has a `REV:path`. Raises SpecError where there is no such revision, or no repository."""
    revision, _, path = name.partition(":")
    _git(repository, "rev-parse", "--verify", f"{revision}^{{commit}}", what=name)
    here = os.path.relpath(os.path.realpath(os.path.join(repository, path)), os.path.realpath(repository))
    done = subprocess.run(["git", "-C", str(repository), "cat-file", "-e", f"{revision}:./{here}"], capture_output=True)
    return done.returncode == 0


def _unpack(archive: bytes, folder: str) -> None:
    """The files of an archive that git made. Python before 3.11.4 can't tell safe links from others: there, links stay
    behind."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
        else:
            tar.extractall(folder, [member for member in tar if member.isfile() or member.isdir()])


def _git(where: str | Path, *arguments: str, what: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(where), *arguments], capture_output=True, check=False)
    except OSError as e:
        raise _refused(what, f"git can't be run: {e.strerror}") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["git gives no reason"]
        raise _refused(what, lines[-1].removeprefix("fatal: "))
    return done.stdout


def _refused(name: str, why: str) -> SpecError:
    message = f"`{name}` is neither a file nor a revision that git knows: {why}"
    cure = "name a file, a folder, or `REVISION:path` of a repository"
    return SpecError(message, [Diagnostic("E0901", message, help=cure)])
