"""Paths of weights that belong together: `encoder.layer[3].q.weight` is `q.weight` of `encoder.layer[3]`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from trtn.dsl.network import Tensor

__all__ = ["Family", "family", "indexed", "split_index", "steps"]

_STEP = re.compile(r"\.?[^.\[]+|\[[^\]]*\]")
_NUMBERED = re.compile(r"(.*?\D)_?(\d+)")


@dataclass(frozen=True, slots=True)
class Family:
    """The weights of the occurrences of a block.

    prefixes: the common path of each occurrence's weights; "" where there is none.
    suffixes: the rest of the path for each role; None for a role whose paths don't fit the others.
    shared: the roles that are one and the same weight in all occurrences.
    fits: whether no weight belongs to another family: those whose paths don't fit have made-up ones.
    """

    prefixes: tuple[str, ...]
    suffixes: tuple[str | None, ...]
    shared: frozenset[int]
    fits: bool = True

    @property
    def regular(self) -> bool:
        """Whether all weights fit, below paths of which each is another."""
        own = [s for role, s in enumerate(self.suffixes) if role not in self.shared]
        return bool(own) and None not in own and len(set(self.prefixes)) == len(self.prefixes)


def family(occurrences: Sequence[Sequence[Tensor]]) -> Family:
    """occurrences: the weights of each, by role."""
    roles = list(zip(*occurrences, strict=True))
    shared = frozenset(n for n, role in enumerate(roles) if len({id(t.weight) for t in role}) == 1)
    parted: dict[int, tuple[tuple[str, ...], str]] = {}
    for number, role in enumerate(roles):
        if number not in shared and all(t.weight is not None and t.weight.name for t in role):
            parted[number] = _parted([_name(t) for t in role])
    if not parted:
        return Family(("",) * len(occurrences), (None,) * len(roles), shared)
    # The prefix of most: one that is longer for some roles by chance is cut back to it.
    votes = Counter(prefixes for prefixes, _ in parted.values())
    prefixes = min(votes, key=lambda p: (-votes[p], len(p[0])))
    shorter = _shortened(prefixes, [p for p, _ in parted.values()])
    suffixes: list[str | None] = []
    for number in range(len(roles)):
        found = parted.get(number)
        suffixes.append(_below(shorter, [_name(t) for t in roles[number]]) if found is not None else None)
    foreign = any(suffixes[n] is None and len(steps(rest)) > 1 for n, (_, rest) in parted.items())
    return Family(shorter, tuple(suffixes), shared, not foreign)


def steps(path: str) -> list[str]:
    """`a.b[0]` in its steps: `a`, `.b`, `[0]`."""
    found = _STEP.findall(path)
    return found if found and "".join(found) == path else [path]


def indexed(prefix: str) -> str:
    """`layers.encoder_layer_3` as `layers.encoder_layer[3]`: a number at the end of a path's last name as its index."""
    *before, last = steps(prefix)
    match = _NUMBERED.fullmatch(last)
    if match is None or last.startswith("["):
        return prefix
    return f"{''.join(before)}{match[1].rstrip('_')}[{int(match[2])}]"


def split_index(path: str) -> tuple[str, int] | None:
    """`layer[3]` as `layer` and 3."""
    parts = steps(path)
    if len(parts) < 2 or not parts[-1].startswith("[") or not parts[-1][1:-1].isdigit():
        return None
    return "".join(parts[:-1]), int(parts[-1][1:-1])


def _name(tensor: Tensor) -> str:
    return tensor.weight.name if tensor.weight is not None else ""


def _parted(names: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The path that is each name's own, and the one that all have in common behind it, which begins with a name."""
    parts = [steps(name) for name in names]
    count = 0
    shortest = min(map(len, parts))
    while count < shortest - 1 and len({p[-1 - count] for p in parts}) == 1:
        count += 1
    while count and parts[0][-count].startswith("["):
        count -= 1
    cut = len(parts[0]) - count
    return tuple("".join(p[: len(p) - count]) for p in parts), "".join(parts[0][cut:])


def _shortened(prefixes: tuple[str, ...], others: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The longest common start of the prefixes of all roles, where each occurrence still has its own."""
    best = prefixes
    for other in others:
        if all(a.startswith(b) and a != b for a, b in zip(best, other, strict=True)) and len(set(other)) == len(other):
            best = other
    return best


def _below(prefixes: Sequence[str], names: Sequence[str]) -> str | None:
    """What names have behind their prefixes, where that is the same for all."""
    rests = {name[len(p) :] if name.startswith(f"{p}.") else "" for p, name in zip(prefixes, names, strict=True)}
    rest = rests.pop()
    return rest.removeprefix(".") if rest and not rests else None
