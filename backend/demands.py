"""Relations between dims at run time: asserts, and the guards of networks and regions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.dims import DimError, Relation
from trtn.dsl.errors import ShapeError
from trtn.dsl.network import Assertion, Guard

__all__ = ["check_asserts", "check_guards", "refuse", "sizes_text"]


def refuse(code: str, message: str, *, notes: Sequence[str] = (), cure: str = "") -> ShapeError:
    return ShapeError(message, [Diagnostic(code, message, notes=tuple(notes), help=cure)])


def check_asserts(asserts: Iterable[Assertion], sizes: Mapping[str, int]) -> None:
    """Raises ShapeError for the first whose dims are all known and that does not hold."""
    for a in asserts:
        _check_assert(a.relation, a.message, sizes)


def _check_assert(relation: Relation, message: str, sizes: Mapping[str, int]) -> None:
    where = _failure(relation, sizes)
    if where:
        because = f" ({message})" if message else ""
        raise refuse("E0707", f"`assert {relation}`{because} does not hold for {where}")


def check_guards(guards: Iterable[Guard], sizes: Mapping[str, int]) -> None:
    """The same for guards."""
    for g in guards:
        if not g.layer:
            _check_assert(g.relation, g.message, sizes)
            continue
        where = _failure(g.relation, sizes)
        if where:
            raise refuse(
                "E0707", f"layer `{g.layer}`: {g.message}", notes=[f"`{g.relation}` does not hold for {where}"]
            )


def _failure(relation: Relation, sizes: Mapping[str, int]) -> str:
    """The values for which a relation fails; "" where it holds, or where some of its dims are not known yet."""
    if not relation.symbols <= sizes.keys():
        return ""
    try:
        return "" if relation.holds(sizes) else sizes_text(sizes)
    except DimError as e:
        return f"{sizes_text(sizes)}: {e}"


def sizes_text(sizes: Mapping[str, int]) -> str:
    """`B = 1, S = 7`."""
    return ", ".join(f"{n} = {v}" for n, v in sorted(sizes.items())) or "these shapes"
