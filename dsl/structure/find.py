"""Finds the stretch of layers that occurs several times and is best made a block.

A stretch is worth a block if it has one result that layers behind it read, needs nothing that is read again right
behind
it (it is no half of a residual), and occurs often enough to make the text shorter.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from trtn.dsl.network import Layer, Network, Tensor
from trtn.dsl.structure.constants import literal_bytes
from trtn.dsl.structure.paths import family
from trtn.dsl.structure.roles import role_of
from trtn.dsl.structure.tokens import is_line, token
from trtn.dsl.structure.views import VIEWS

__all__ = ["Finder", "Occurrence", "is_weight"]

_LONGEST = 400
"""Layers of a block."""
_SHORTEST = 4
"""Layers of a block: fewer are an expression."""
_LEAST_GAIN = 2
"""Lines that a block must save."""
_BONUS = 1.3
"""What it counts that the weights of a stretch belong together: where it begins and ends is right then."""
_HEAD = 3
"""Lines of a block that are not its statements."""
_MOST_INPUTS = 8
_GENERIC_ROLES = frozenset({"a", "b", "x", "xs", "y"})


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
        self._finals = {id(t) for t in network.outputs}
        self._ends = np.concatenate(
            [[0], np.cumsum([any(id(t) in self._finals for t in x.outputs) for x in self.layers], dtype=np.int64)]
        )
        """How many layers up to each place make results of the network."""
        self._literals = {
            id(t) for x in self.layers for t in x.inputs if t is not None and t.weight is not None and not is_weight(t)
        }

    def best(self) -> list[Occurrence] | None:
        """The occurrences of the best block, in order; None where there is none worth it. They are taken."""
        best: list[Occurrence] = []
        score = (False, 0.0, False, 0)
        # The most promising come first: then most of the others need no closer look.
        for gain, length, starts in sorted(self._candidates(), key=lambda c: c[:2], reverse=True):
            if (True, _BONUS * gain, True, length) <= score:
                continue
            found = self._same(starts, length)
            gain = _gain(len(found), int(self._lines[starts[0] + length] - self._lines[starts[0]]))
            if gain < _LEAST_GAIN:
                continue
            members = family([x.weights for x in found])
            bonus = _BONUS if members.regular else 1.0
            new = (members.fits, bonus * gain, is_line(found[0].layers[0]), length)
            if new > score:
                best, score = found, new
        for occurrence in best:
            self._barrier[occurrence.start : occurrence.start + len(occurrence.layers)] = True
        return best or None

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
                gain = _gain(len(group), int(lines[group[0]]))
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


def _gain(occurrences: int, lines: int) -> int:
    return occurrences * (lines - 1) - lines - _HEAD


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
