"""Finds the stretch of layers that occurs several times and is best made a block.

A stretch is worth a block if it has one result that layers behind it read, needs nothing that is read again right
behind it (it is no half of a residual), and occurs often enough to make the text shorter.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from trtn.dsl.network import Layer, Network, Tensor
from trtn.dsl.structure.constants import literal_bytes
from trtn.dsl.structure.paths import Family, family
from trtn.dsl.structure.roles import past_of, role_of
from trtn.dsl.structure.tokens import is_line, lines_alone, token
from trtn.dsl.structure.views import VIEWS

__all__ = ["Finder", "Occurrence", "is_weight"]

_LONGEST = 400
"""Layers of a block."""
_SHORTEST = 4
"""Layers of a block: fewer are an expression."""
_LEAST_GAIN = 2
"""Lines that a block must save."""
_LEAST_GAIN_WITHOUT_WEIGHTS = 6
"""The same for one without weights: nothing says that it is a thing of its own."""
_REGULAR = 1.3
"""What it counts that the weights of a stretch belong together: where it begins and ends is right then."""
_COMPLETE = 2.6
"""What it counts that they are all the weights of a module."""
_HEAD = 3
"""Lines of a block that are not its statements."""
_LOOSE = 0.5
"""What is taken off where an activation follows each stretch: it has a line of its own then, between calls that could
follow each other. One call more is not worth it."""
_MOST_INPUTS = 8
_GENERIC_ROLES = frozenset({"a", "b", "x", "xs", "y"})

Counts: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]
_Score: TypeAlias = tuple[bool, float, bool, int]
"""Whether no weight belongs elsewhere, the lines saved, whether it begins with a line, how many layers it has."""
_NONE: _Score = (False, 0.0, False, 0)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One place of a stretch: its layers, the tensors that it reads (weights left out), those that others read of it,
    and its weights by role, each in the order of appearance.
    """

    start: int
    layers: tuple[Layer, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]
    input_names: tuple[str, ...] = ()
    """What each input could be called: what it is to the layer that reads it, else the op that makes it."""


class Finder:
    """The layers of a network, from which one set of occurrences after another is taken."""

    def __init__(self, network: Network) -> None:
        self.layers = network.layers
        self._count = len(self.layers)
        numbers: dict[Hashable, int] = {}
        self._tokens = np.asarray(
            [numbers.setdefault(token(x), len(numbers)) for x in self.layers], dtype=np.uint64
        ) + np.uint64(1)
        self._barrier = np.asarray([not _may_be_in_block(x, network) for x in self.layers], dtype=bool)
        self._lines = np.concatenate([[0], np.cumsum([is_line(x) for x in self.layers])])
        self._alone = np.concatenate([[0], np.cumsum([lines_alone(x) for x in self.layers])])
        self._place = {id(t): n for n, x in enumerate(self.layers) for t in x.outputs}
        reads: dict[int, list[int]] = {}
        for n, layer in enumerate(self.layers):
            for t in layer.inputs:
                if t is not None and id(t) in self._place:
                    places = reads.setdefault(id(t), [])
                    if not places or places[-1] != n:
                        places.append(n)
        self._reads = reads
        spans = [(self._place[t], places[-1]) for t, places in reads.items()]
        self._spans = np.asarray(spans, dtype=np.int64).reshape(-1, 2)
        """Where each tensor is made, and where it is read last."""
        again = [
            (before, place, places[-1], places[-1] - places[0])
            for t, places in reads.items()
            for before, place in zip([self._place[t], *places], places[:-1], strict=False)
        ]
        self._again = np.asarray(again, dtype=np.int64).reshape(-1, 4)
        """Each read but the last one: the one before, itself, the last one, from the first to the last."""
        self._weights = sorted({t.weight.name for t in network.weights if t.weight is not None})
        self._finals = {id(t) for t in network.outputs}
        self._ends = np.concatenate(
            [[0], np.cumsum([any(id(t) in self._finals for t in x.outputs) for x in self.layers], dtype=np.int64)]
        )
        """How many layers up to each place make results of the network."""
        self._literals = {
            id(t) for x in self.layers for t in x.inputs if t is not None and t.weight is not None and not is_weight(t)
        }
        self._judged: dict[tuple[int, ...], tuple[list[Occurrence], _Score]] = {}
        """What has been looked at closely, by length and places."""

    def best(self) -> list[Occurrence] | None:
        """The occurrences of the best block, in order; None where there is none worth it. They are taken."""
        best: list[Occurrence] = []
        score = _NONE
        # The most promising come first: then most of the others need no closer look.
        for gain, length, starts in sorted(self._candidates(), key=lambda c: c[:2], reverse=True):
            if (True, _COMPLETE * gain, True, length) <= score:
                continue
            place = (length, *starts)
            if place not in self._judged:
                self._judged[place] = self._judge(starts, length)
            found, new = self._judged[place]
            if new > score:
                best, score = found, new
        for occurrence in best:
            self._barrier[occurrence.start : occurrence.start + len(occurrence.layers)] = True
        return best or None

    def _judge(self, starts: Sequence[int], length: int) -> tuple[list[Occurrence], _Score]:
        """The occurrences among stretches with equal tokens, and how good a block they would be."""
        found = self._same(starts, length)
        if not found:
            return [], _NONE
        members = family([x.weights for x in found])
        gain = self._gain([x.start for x in found], length, self._alone if members.regular else self._lines)
        loose = sum(self._goes_on(x.start + length - 1) for x in found)
        if gain < (_LEAST_GAIN if found[0].weights else _LEAST_GAIN_WITHOUT_WEIGHTS):
            return [], _NONE
        bonus = (_COMPLETE if self._complete(found, members) else _REGULAR) if members.regular else 1.0
        value = bonus * (1 - _LOOSE * loose / len(found)) * gain
        return found, (members.fits, value, is_line(found[0].layers[0]), length)

    def _goes_on(self, place: int) -> bool:
        """Whether the next layer works on the result of one, and nobody else does, and would be written around it: a
        stretch that ends here leaves an activation outside, for a line of its own."""
        following = self.layers[place + 1] if place + 1 < self._count else None
        if following is None or is_line(following) or len(self.layers[place].outputs) != 1:
            return False
        return self._reads.get(id(self.layers[place].output)) == [place + 1]

    def _gain(self, starts: Sequence[int], length: int, lines: Counts) -> int:
        """The lines that a block saves: those of the stretches, less a call for each and the block."""
        alone = sum(int(lines[start + length] - lines[start]) for start in starts)
        inside = int(self._lines[starts[0] + length] - self._lines[starts[0]])
        return alone - len(starts) - inside - _HEAD

    def _complete(self, found: Sequence[Occurrence], members: Family) -> bool:
        """Whether each occurrence has all the weights of the network that are below its prefix."""
        count = len(found[0].weights) - len(members.shared)
        return all(self._below(prefix) == count for prefix in members.prefixes)

    def _below(self, prefix: str) -> int:
        """How many weights have paths below a prefix."""
        return sum(
            bisect_left(self._weights, f"{prefix}{chr(ord(step) + 1)}") - bisect_left(self._weights, f"{prefix}{step}")
            for step in ".["
        )

    def _candidates(self) -> Iterator[tuple[int, int, list[int]]]:
        """Stretches with equal tokens that don't overlap: the lines that they may save, their length, where they begin."""
        sums = self._tokens.copy()
        for length in range(1, min(_LONGEST, self._count // 2) + 1):
            rest = self._count - length + 1
            if length > 1:
                sums = sums[:rest] * np.uint64(0x9E3779B97F4A7C15) + self._tokens[length - 1 :]
            if length < _SHORTEST:
                continue
            lines = self._lines[length:] - self._lines[:rest]
            starts = np.flatnonzero(self._is_whole(length) & (lines >= 2))
            for group in _groups(sums[starts], starts, length):
                gain = self._gain(group, length, self._alone)
                if gain >= _LEAST_GAIN:
                    yield gain, length, group

    def _is_whole(self, length: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which stretches of a length have one result, leave nothing that they read to the next, and may be in a
        block."""
        rest = self._count - length + 1
        made, last = self._spans.T
        results = _counted(rest, np.maximum(made - length + 1, 0), np.minimum(made, last - length))
        before, place, last, _ = self._again[self._again[:, 3] < 2 * length].T
        passing = _counted(rest, np.maximum(place - length + 1, before + 1), np.minimum(place, last - length))
        blocked = np.concatenate([[0], np.cumsum(self._barrier)])
        final = self._ends[length:] - self._ends[:rest] > 0
        whole: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
            ((results == 1) | ((results == 0) & final)) & (passing == 0) & (blocked[length:] - blocked[:rest] == 0)
        )
        return whole

    def _same(self, starts: Sequence[int], length: int) -> list[Occurrence]:
        """Of stretches with equal tokens, those in which the data flows as it does in most."""
        by_flow: dict[Hashable, list[Occurrence]] = {}
        for start in starts:
            flow, occurrence = self._flow(start, length)
            by_flow.setdefault(flow, []).append(occurrence)
        most = max(by_flow.values(), key=len)
        return most if len(most[0].inputs) <= _MOST_INPUTS else []

    def _flow(self, start: int, length: int) -> tuple[Hashable, Occurrence]:
        layers = self.layers[start : start + length]
        made: dict[int, tuple[int, int]] = {}
        inputs: dict[int, Tensor] = {}
        weights: dict[int, Tensor] = {}
        numbers: dict[int, int] = {}
        flow: list[Hashable] = []
        outputs: list[Tensor] = []
        for number, layer in enumerate(layers):
            for t in layer.inputs:
                if t is None or id(t) in self._literals:
                    continue
                if t.weight is not None:
                    weights.setdefault(id(t.weight), t)
                    flow.append(("weight", numbers.setdefault(id(t.weight), len(numbers))))
                elif id(t) in made:
                    flow.append(made[id(t)])
                else:
                    inputs.setdefault(id(t), t)
                    flow.append(("input", numbers.setdefault(id(t), len(numbers))))
            for place, t in enumerate(layer.outputs):
                made[id(t)] = (number, place)
                if id(t) in self._finals or any(r >= start + length for r in self._reads.get(id(t), ())):
                    outputs.append(t)
        flow += [("output", *made[id(t)]) for t in outputs]
        names = tuple(self._input_name(t, layers) for t in inputs.values())
        occurrence = Occurrence(start, layers, tuple(inputs.values()), tuple(outputs), tuple(weights.values()), names)
        return tuple(flow), occurrence

    def _input_name(self, tensor: Tensor, layers: Sequence[Layer]) -> str:
        role = role_of(layers, tensor)
        if role == "xs" and (past := past_of(layers, tensor)):
            return past
        place = self._place.get(id(tensor))
        if role not in _GENERIC_ROLES or place is None:
            return role
        while self.layers[place].op.name in VIEWS:
            source = self._place.get(id(self.layers[place].inputs[0]))
            if source is None:
                return role
            place = source
        name = self.layers[place].op.name
        return role if is_line(self.layers[place]) else name


def is_weight(tensor: Tensor) -> bool:
    """Whether a constant is one of the manifest."""
    return tensor.weight is not None and literal_bytes(tensor.weight) is None


def _may_be_in_block(layer: Layer, network: Network) -> bool:
    if layer.regions or not layer.outputs:
        return False
    if not network.data_dims:
        return True
    return all(isinstance(d, int) or d.symbols <= network.dims.keys() for t in layer.outputs for d in t.shape)


def _counted(
    size: int, low: np.ndarray[tuple[int], np.dtype[np.int64]], high: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """For each of `size` places, how many of the ranges from low to high (included) it is in."""
    high = np.minimum(high, size - 1)
    some = low <= high
    starts = np.bincount(low[some], minlength=size + 1)
    ends = np.bincount(high[some] + 1, minlength=size + 1)
    counts: np.ndarray[tuple[int], np.dtype[np.int64]] = np.cumsum(starts - ends)[:size]
    return counts


def _groups(
    sums: np.ndarray[tuple[int], np.dtype[np.uint64]], starts: np.ndarray[tuple[int], np.dtype[np.int64]], length: int
) -> Iterator[list[int]]:
    """Places with equal sums that don't overlap, in order."""
    order = np.argsort(sums, kind="stable")
    ends = np.flatnonzero(np.diff(sums[order])) + 1
    for part in np.split(order, ends):
        if len(part) < 2:
            continue
        chosen: list[int] = []
        for start in starts[part].tolist():
            if not chosen or start >= chosen[-1] + length:
                chosen.append(start)
        if len(chosen) > 1:
            yield chosen
