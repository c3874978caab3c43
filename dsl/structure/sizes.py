"""Sizes and numbers in a block: literal where they are the same in all its calls, else by the name of a dim or
parameter."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trtn.dsl.dims import Dim, Expr
from trtn.dsl.printer.literals import DimWriter, name_text

__all__ = ["SizeBook", "Vector"]

Vector = tuple[Dim, ...]
"""What a size is in each call of a block, in order."""


class SizeBook:
    """The dims that a block's signature names, and what can be said with them."""

    def __init__(self, dims: DimWriter, free: Callable[[str], str]) -> None:
        """dims: how the network's dims are written; free: a name that the block has not used, made from a wish."""
        self._dims = dims
        self._free = free
        self._names: dict[Vector, list[str]] = {}
        self._symbols: set[str] = set()
        """The network's dims that are known in the block by their own names."""

    def type_text(self, vectors: Sequence[Vector], *, result: bool = False) -> str:
        """The sizes of a signature's type. A size that can't be said with what is known gets a name."""
        texts: list[str] = []
        for place, vector in enumerate(vectors):
            letter = _letter(place, len(vectors), result)
            text = self.text(vector, [letter, letter.removeprefix("O")], texts)
            is_number = isinstance(vector[0], int)
            is_other_side = not result and place > 1 and is_number and text in texts and vector in self._names
            texts.append(self._bind(vector, letter) if text is None or is_other_side else text)
        return ", ".join(texts)

    def text(self, vector: Vector, preferred: Sequence[str] = (), used: Sequence[str] = ()) -> str | None:
        """A size in the block, or None where its signature doesn't give it. Of several names for it the preferred one,
        else one that is not used yet.
        """
        first = vector[0]
        if all(v == first for v in vector):
            if isinstance(first, int):
                return str(first)
            if first.symbols <= self._symbols:
                return self._dims(first)
        if vector in self._names:
            names = self._names[vector]
            wanted = [n for n in preferred if n in names] + [n for n in names if n not in used]
            return name_text(wanted[0] if wanted else names[0])
        return self._multiple(vector)

    def _multiple(self, vector: Vector) -> str | None:
        """`4 * D` or `D // 12`."""
        for known, (name, *_) in self._names.items():
            if not all(isinstance(v, int) and v > 0 for v in (*known, *vector)):
                continue
            pairs = [(int(str(v)), int(str(k))) for v, k in zip(vector, known, strict=True)]
            factors = {v // k if v % k == 0 else 0 for v, k in pairs}
            if len(factors) == 1 and (factor := factors.pop()):
                return f"{factor} * {name_text(name)}"
            divisors = {k // v if k % v == 0 else 0 for v, k in pairs}
            if len(divisors) == 1 and (divisor := divisors.pop()):
                return f"{name_text(name)} // {divisor}"
        return None

    def _bind(self, vector: Vector, letter: str) -> str:
        first = vector[0]
        own = first.lone_atom() if isinstance(first, Expr) and all(v == first for v in vector) else None
        if own is not None and own.op == "symbol":
            name = self._free(self._dims.plain(own.name))
            if name == self._dims.plain(own.name):
                self._symbols.add(own.name)
        else:
            name = self._free(letter)
        self._names.setdefault(vector, []).append(name)
        return name_text(name)


def _letter(place: int, rank: int, result: bool) -> str:
    if rank >= 4:
        spatial = "LHW"[-(rank - 2) :] if rank <= 5 else ""
        letters: list[str] = ["N", "C", *(spatial or [f"D{n}" for n in range(rank - 2)])]
    else:
        letters = {1: ["D"], 2: ["N", "D"], 3: ["N", "S", "D"]}.get(rank, [f"D{n}" for n in range(rank)])
    letter = letters[place]
    if not result:
        return letter
    return "O" if letter == "C" else f"O{letter}"
