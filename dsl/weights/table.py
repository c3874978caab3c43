"""A manifest's weights by name: paths, and the tree that the paths span."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property

from trtn.dsl.diagnostics import Source
from trtn.dsl.diagnostics.suggest import nearest
from trtn.dsl.network import Weight
from trtn.dsl.weights.sources import FileEntry

__all__ = ["WeightTable", "natural_key"]

_DIGITS = re.compile(r"(\d+)")
_STEP = re.compile(r"\.?([^.\[]+)|(\[[^\]]*\])")


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """A sort key by which `layer[2]` comes before `layer[10]`: numbers by value."""
    parts = _DIGITS.split(name)
    return tuple((int(part), part) if at % 2 else (-1, part) for at, part in enumerate(parts))


class WeightTable(Mapping[str, Weight]):
    """The weights of one manifest, by path, in the order of its lines. Nothing is read from their files."""

    def __init__(
        self,
        name: str,
        weights: Mapping[str, Weight],
        files: Mapping[str, FileEntry],
        source: Source | None = None,
        refused: Collection[str] = (),
        *,
        broken: bool = False,
    ) -> None:
        """`refused` are tensors whose lines have errors; `broken` says whether parts of the text could not be read."""
        self.name = name
        self._refused = refused
        self._broken = broken
        self.files = files
        self.source = source
        self._weights = weights

    def __getitem__(self, name: str) -> Weight:
        return self._weights[name]

    def __contains__(self, name: object) -> bool:
        return name in self._weights

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def __repr__(self) -> str:
        return f"<weights {self.name}: {len(self)} tensors, {len(self.files)} files>"

    def may_have_lost(self, path: str) -> bool:
        """Whether a tensor that is not here may be declared in a line with errors."""
        return path in self._refused or (self._broken and self.source is not None and path in self.source.text)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._weights)

    def has_prefix(self, path: str) -> bool:
        """Whether `path` is a tensor or leads to one, as `layer[0]` does to `layer[0].q.weight`."""
        return path in self._tree

    def children(self, path: str = "") -> tuple[str, ...]:
        """The steps below a path, in natural order: `layer` below `encoder`, `[0]`, `[1]` below `layer`."""
        return tuple(sorted(self._tree.get(path, ()), key=natural_key))

    def missing_group(self, path: str) -> str | None:
        """The shortest beginning of a path that leads nowhere, where more steps follow: none of those can be right."""
        known = ""
        for step in _steps(path):
            known += step
            if known not in self._tree:
                return known if known != path else None
        return None

    def suggest(self, path: str) -> str | None:
        """The path that was probably meant, or None, judged by the first step that leads nowhere."""
        known = ""
        for step in _steps(path):
            if known + step not in self._tree:
                near = nearest(_bare(step), map(_bare, self.children(known)))
                if near is not None:
                    following = path[len(known) + len(step) :]
                    meant = _joined(known, near)
                    return meant + following if self.has_prefix(meant + following) else meant
                break
            known += step
        return nearest(path, self._weights)

    @cached_property
    def _tree(self) -> dict[str, set[str]]:
        """Every prefix with the steps below it."""
        tree: dict[str, set[str]] = {"": set()}
        for name in self._weights:
            path = ""
            for step in _steps(name):
                below = path + step
                tree[path].add(_bare(step))
                tree.setdefault(below, set())
                path = below
        return tree


def _steps(path: str) -> list[str]:
    """`a.b[0]` in its steps: `a`, `.b`, `[0]`. A foreign name that isn't built so is one step."""
    steps = [match.group() for match in _STEP.finditer(path)]
    return steps if "".join(steps) == path else [path]


def _bare(step: str) -> str:
    return step.removeprefix(".")


def _joined(path: str, step: str) -> str:
    return path + step if not path or step.startswith("[") else f"{path}.{step}"
