"""Where a file that a text names may lie: below the folder of that text."""

from __future__ import annotations

from pathlib import Path

__all__ = ["OutsideFolder", "confine"]


class OutsideFolder(ValueError):
    """A path that leads out of the folder it must stay in."""

    def __init__(self, path: str, root: Path) -> None:
        super().__init__(f"`{path}` lies outside `{root}`")
        self.path = path
        self.root = root


def confine(root: Path, path: str, *, allow_outside: bool = False) -> Path:
    """The real path, links followed, of `path` as written in a text whose folder is `root`.

    The file need not exist. Raises OutsideFolder where the path leads out of the folder (absolute, through
    `..`, through a symbolic link) unless `allow_outside`; ValueError for text that is no path (empty, a zero
    byte, a circle of links).
    """
    if not path or "\0" in path:
        raise ValueError(f"`{path!r}` is not a path")
    try:
        base = root.resolve()
        real = (base / path).resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a circle of links, on Python 3.11 and 3.12
        raise ValueError(f"`{path}` can't be followed: {error}") from None
    if not allow_outside and (Path(path).is_absolute() or not real.is_relative_to(base)):
        raise OutsideFolder(path, root)
    return real
