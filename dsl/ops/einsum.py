"""Einstein sums, carried out two tensors at a time as batched matrix products."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from string import ascii_letters
from typing import Any

from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import NUMBERS
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.normalization import widened

__all__ = ["axes_of"]

Labels = tuple[str, ...]
"""The names of a tensor's axes: letters, and `.0`, `.1`, .. from the right for those under an ellipsis."""

_TERM = re.compile(r"[A-Za-z]*(\.\.\.)?[A-Za-z]*")


class Einsum(Op):
    """The sum of products that `equation` describes: `bhsd,bhld->bhsl` sums over d for each b, h, s and l.

    Each letter names an axis, `...` stands for any number of axes, which broadcast. What is not named after
    `->` is summed. Without `->` the result has the ellipsis and then, in alphabetical order, the letters that
    occur once.
    """

    signature = "einsum(xs: T..., *, equation: str) -> T"
    where = {"T": NUMBERS}

    def infer(self, i: Infer) -> Shape:
        try:
            terms, output = axes_of(i["equation"], tuple(len(i.shape(n)) for n in range(len(i))))
        except ValueError as e:
            i.fail("E0304", f"{e} (`einsum`)", attr="equation")
        sizes: dict[str, Dim] = {}
        for n, labels in enumerate(terms):
            for label, size in zip(labels, i.shape(n), strict=True):
                if label not in sizes:
                    sizes[label] = size
                elif label in ascii_letters:
                    message = f"sizes of `{label}` in `{i['equation']}` differ"
                    sizes[label] = i.equal(sizes[label], size, message, inputs=[n])
                else:
                    (sizes[label],) = i.broadcast_shapes((sizes[label],), (size,), inputs=[n])
        return tuple(sizes[label] for label in output)

    def evaluate(self, xp: Any, *xs: Any, equation: str) -> Any:
        terms, output = axes_of(equation, tuple(x.ndim for x in xs))
        total, have = widened(xp, xs[0]), terms[0]
        for n, (x, labels) in enumerate(zip(xs[1:], terms[1:], strict=True), 1):
            later = set(output).union(*terms[n + 1 :])
            total, have = _contract(xp, total, have, widened(xp, x), labels, later)
        return _summed(xp, total, have, output).astype(xs[0].dtype, copy=False)


@lru_cache(maxsize=1024)
def axes_of(equation: str, ranks: tuple[int, ...]) -> tuple[tuple[Labels, ...], Labels]:
    """The labels of each input's axes and of the result's, for an equation and the ranks of the inputs. Raises
    ValueError where these do not fit."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    for term in (*terms, right):
        if not _TERM.fullmatch(term):
            raise ValueError(f"`{term}` is not a term of letters and one ellipsis")
    if len(terms) != len(ranks):
        raise ValueError(f"`{equation}` is for {len(terms)} tensors, not {len(ranks)}")
    inputs = tuple(_expanded(term, rank) for term, rank in zip(terms, ranks, strict=True))
    dots = max(([a for a in term if a[0] == "."] for term in inputs), key=len)
    every = [label for labels in inputs for label in labels]
    if arrow:
        before, ellipsis, after = right.partition("...")
        output = (*before, *(dots if ellipsis else ()), *after)
    else:
        output = (*dots, *sorted(a for a in set(every) if a[0] != "." and every.count(a) == 1))
    if len(set(output)) != len(output):
        raise ValueError(f"the result of `{equation}` names an axis twice")
    if unknown := set(output) - set(every):
        raise ValueError(f"no tensor of `{equation}` has the axis `{min(unknown)}` of the result")
    return inputs, output


def _expanded(term: str, rank: int) -> Labels:
    before, ellipsis, after = term.partition("...")
    covered = rank - len(before) - len(after)
    if covered < 0 or (covered and not ellipsis):
        raise ValueError(f"`{term}` does not fit a tensor of rank {rank}")
    return (*before, *(f".{n}" for n in reversed(range(covered))), *after)


def _contract(xp: Any, a: Any, have: Labels, b: Any, labels: Labels, later: set[str]) -> tuple[Any, Labels]:
    """The product of two arrays, summed over the axes that no `later` term names, and its labels."""
    sizes: dict[str, int] = {}
    for label, size in (*zip(have, a.shape, strict=True), *zip(labels, b.shape, strict=True)):
        sizes[label] = size if sizes.get(label, 1) == 1 else sizes[label]
    a, have = _prepared(xp, a, have, sizes, later | set(labels))
    b, labels = _prepared(xp, b, labels, sizes, later | set(have))
    batch = [x for x in have if x in labels and x in later]
    inner = [x for x in have if x in labels and x not in later]
    rows = [x for x in have if x not in labels]
    columns = [x for x in labels if x not in have]
    a = _transposed(xp, a, have, batch + rows + inner)
    b = _transposed(xp, b, labels, batch + inner + columns)
    m, k, n = (prod(sizes[x] for x in group) for group in (rows, inner, columns))
    lead = [sizes[x] for x in batch]
    if inner:
        product = xp.matmul(a.reshape(*lead, m, k), b.reshape(*lead, k, n))
    else:
        product = a.reshape(*lead, m, 1) * b.reshape(*lead, 1, n)
    result = (*batch, *rows, *columns)
    return product.reshape([sizes[x] for x in result]), result


def _prepared(xp: Any, x: Any, labels: Labels, sizes: dict[str, int], needed: set[str]) -> tuple[Any, Labels]:
    """An array without axes that broadcast, diagonals taken, axes that only it has summed, and its labels."""
    kept = [n for n, label in enumerate(labels) if x.shape[n] == sizes[label]]
    x, labels = x.reshape([x.shape[n] for n in kept]), tuple(labels[n] for n in kept)
    wanted = tuple(label for label in dict.fromkeys(labels) if label in needed)
    return _summed(xp, x, labels, wanted), wanted


def _summed(xp: Any, x: Any, labels: Labels, wanted: Labels) -> Any:
    """An array with the `wanted` axes in their order: diagonals where a label repeats, others summed."""
    if len(set(labels)) == len(labels) == len(wanted):
        return _transposed(xp, x, labels, wanted)
    letters = dict(zip(dict.fromkeys(labels), ascii_letters, strict=False))
    equation = "".join(letters[a] for a in labels) + "->" + "".join(letters[a] for a in wanted)
    return xp.asarray(xp.einsum(equation, x))


def _transposed(xp: Any, x: Any, labels: Labels, wanted: Sequence[str]) -> Any:
    return xp.transpose(x, [labels.index(a) for a in wanted])
