"""Counts of n-grams in rows of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer

__all__: list[str] = []


class TfIdf(Op):
    """How often each n-gram of a pool is in each row of x [C] or [N, C]: [columns] or [N, columns].

    `pool` lists the n-grams one after another, those of length n from `starts`[n - 1] on; `columns` says where in the
    result each one is counted. Only lengths from `shortest` to `longest` count. The numbers of an n-gram may lie up to
    `skips` numbers apart, at equal distances. "idf" gives the `weights` (1 where absent) of those that are there,
    "tfidf" multiplies the counts by them. ONNX TfIdfVectorizer on integers.
    """

    signature = (
        "tf_idf(x: i32|i64, *, pool: ints, starts: ints, columns: ints, weights: floats?, shortest: int = 1,"
        ' longest: int = 1, skips: int = 0, mode: "tf" | "idf" | "tfidf" = "tf") -> f32'
    )

    def infer(self, i: Infer) -> Shape:
        i.rank(0, 1, 2)
        bounds = (0, *i["starts"], len(i["pool"]))
        if not i["starts"] or list(bounds) != sorted(bounds):
            i.fail("E0304", "`starts` of `tf_idf` are places of its pool, in order", attr="starts")
        count = sum(1 for _ in _ngrams(i["pool"], i["starts"]))
        if len(i["columns"]) != count or (i["weights"] is not None and len(i["weights"]) != count):
            i.fail("E0304", f"`tf_idf` has {count} n-grams in its pool, but not as many columns or weights")
        if any(c < 0 for c in i["columns"]):
            i.fail("E0304", "`columns` of `tf_idf` are at least 0", attr="columns")
        return (*i.shape(0)[:-1], max(i["columns"], default=-1) + 1)

    def evaluate(
        self,
        xp: Any,
        x: Any,
        *,
        pool: tuple[int, ...],
        starts: tuple[int, ...],
        columns: tuple[int, ...],
        weights: tuple[float, ...] | None,
        shortest: int,
        longest: int,
        skips: int,
        mode: str,
    ) -> Any:
        rows = x.reshape(-1, x.shape[-1])
        y = xp.zeros((rows.shape[0], max(columns, default=-1) + 1), dtype="float32")
        for number, ngram in enumerate(_ngrams(pool, starts)):
            if not shortest <= len(ngram) <= longest:
                continue
            found = sum(_count(xp, rows, ngram, d + 1) for d in range(skips + 1 if len(ngram) > 1 else 1))
            weight = 1.0 if weights is None or mode == "tf" else weights[number]
            y[:, columns[number]] += (found > 0 if mode == "idf" else found) * weight
        return y.reshape(*x.shape[:-1], -1)


def _ngrams(pool: tuple[int, ...], starts: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for length, (begin, end) in enumerate(zip(starts, (*starts[1:], len(pool)), strict=True), 1):
        for at in range(begin, end - length + 1, length):
            yield pool[at : at + length]


def _count(xp: Any, rows: Any, ngram: tuple[int, ...], distance: int) -> Any:
    """In how many places of each row the numbers are, `distance` apart."""
    places = rows.shape[1] - (len(ngram) - 1) * distance
    if places <= 0:
        return xp.zeros(rows.shape[0], dtype="int64")
    same = xp.ones((rows.shape[0], places), dtype=bool)
    for n, number in enumerate(ngram):
        same &= rows[:, n * distance : n * distance + places] == number
    return same.sum(axis=1)
