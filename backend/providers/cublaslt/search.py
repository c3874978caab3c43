"""Which algorithms are offered for a product: the library's own list, and what is made of its parts.

On Hopper the library lists eight algorithms at most, however many are asked for. The tile of one with the cluster of
another, which it takes as well, was up to 5 % faster for the large products of a transformer (H200, cuBLAS 13.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ctypes import c_void_p
from dataclasses import dataclass, replace
from itertools import chain, islice, zip_longest

from trtn.backend.providers.cublaslt.descriptors import AlgoFields, Candidate, Descriptors, Preference

__all__ = ["SEARCHES", "Search", "crossings", "search"]

LEADERS = 3
"""Of the library's list, what comes before any combination."""


@dataclass(frozen=True, slots=True)
class Search:
    """How many algorithms are asked for, and how many combinations of theirs are offered."""

    listed: int
    crossed: int


SEARCHES = (Search(1, 0), Search(4, 0), Search(8, 0), Search(16, 16), Search(32, 48), Search(32, 1000))
"""By effort."""


def search(described: Descriptors, handle: c_void_p, preference: Preference, effort: int) -> list[Candidate]:
    """Candidates, the likeliest first."""
    wanted = SEARCHES[effort]
    found = described.candidates(handle, preference, wanted.listed)
    if wanted.crossed and any(c.fields.splitk != 1 for c in found):  # those that don't split the sum are worth a look
        found = [*_in_turns(found, described.candidates(handle, replace(preference, workspace=0), wanted.listed))]
    listed: dict[AlgoFields, Candidate] = {}
    for candidate in found:
        listed.setdefault(candidate.fields, candidate)
    made = (described.try_candidate(handle, fields) for fields in crossings([*listed]))
    fitting = (c for c in made if c is not None and c.workspace <= preference.workspace)
    first = [*listed.values()]
    return [*first[:LEADERS], *_in_turns(first[LEADERS:], islice(fitting, wanted.crossed))]


def crossings(listed: Sequence[AlgoFields]) -> Iterator[AlgoFields]:
    """Each algorithm with the cluster and the custom option of another of the same id, those of high rank first; none
    that is listed, none twice."""
    seen = set(listed)
    pairs = ((i, j) for i in range(len(listed)) for j in range(len(listed)) if i != j)
    for i, j in sorted(pairs, key=sum):
        one, other = listed[i], listed[j]
        made = replace(one, cluster=other.cluster, custom=other.custom)
        if one.id == other.id and made not in seen:
            seen.add(made)
            yield made


def _in_turns(one: Iterable[Candidate], other: Iterable[Candidate]) -> Iterator[Candidate]:
    return (c for c in chain.from_iterable(zip_longest(one, other)) if c is not None)
