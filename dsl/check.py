"""Proofs over the dims: what every layer needs, what the asserts say, what each profile's box allows.

A relation that holds for all values of the dims is done with. One that fails for some is an error, with those values. One that is
neither shown nor refuted becomes a guard, which the runtime checks for each new shape, and a warning says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from trtn.dsl.builder import PendingGuard
from trtn.dsl.diagnostics import Label, Sink, Span
from trtn.dsl.dims import (
    Dim,
    Domain,
    Expr,
    Proof,
    Range,
    Relation,
    Verdict,
    bounds,
    evaluate,
    product,
    prove,
    substitute,
    symbol,
    symbols,
)
from trtn.dsl.network import Guard, Network, Profile, Tensor, make_domain, walk

__all__ = ["check_network", "profile_domain", "solvable_dims", "solve_dims"]

SIZE_LIMIT = 2**62
"""The most elements a tensor may have at its largest."""


def check_network(
    network: Network,
    requirements: Iterable[PendingGuard],
    sink: Sink,
    dim_spans: Mapping[str, Span] | None = None,
) -> Network:
    """Prove a network's relations; gives it with its guards. Findings go to the sink."""
    spans = dim_spans or {}
    domain = network.domain()
    _check_dims(network, sink, spans)
    _check_asserts(network, sink)
    _check_sizes(network, domain, sink)
    boxes = {p.name: profile_domain(network, p) for p in network.profiles}
    for profile in network.profiles:
        _check_profile_asserts(network, profile, boxes[profile.name], sink)
    guards: dict[tuple[Relation, str], Guard] = {}
    proofs: dict[Relation, Proof] = {}
    for pending in requirements:
        relation = pending.requirement.relation
        proof = proofs.get(relation)
        if proof is None:
            proof = proofs[relation] = prove(relation, domain)
        if proof.verdict is Verdict.REFUTED:
            _report(pending, proof, sink)
        elif proof.verdict is Verdict.UNKNOWN:
            guard = Guard(relation, pending.requirement.message, pending.layer, pending.span)
            if (relation, "") not in guards:
                guards[relation, ""] = guard
                _check_guard(network, pending, boxes, sink)
    return replace(network, guards=tuple(guards.values()))


def profile_domain(network: Network, profile: Profile) -> Domain:
    """The box of a profile: each dim from min to max in the dim's step, with the network's asserts."""
    ranges = {n: Range(r.minimum, r.maximum, network.dims[n].step) for n, r in profile.dims.items()}
    return make_domain(ranges, network.data_dims, (a.relation for a in network.asserts))


def show_values(witness: Mapping[str, int], relation: Relation) -> str:
    """`B = 1, S = 7` for the dims that a relation is about."""
    names = sorted(relation.symbols) or sorted(witness)
    return ", ".join(f"{n} = {witness[n]}" for n in names if n in witness)


def _sides(relation: Relation, witness: Mapping[str, int]) -> str:
    return f"{evaluate(relation.left, witness)} {relation.op} {evaluate(relation.right, witness)} does not hold"


def _report(pending: PendingGuard, proof: Proof, sink: Sink) -> None:
    requirement = pending.requirement
    relation = requirement.relation
    witness = proof.witness or {}
    notes = (
        [f"`{relation}` fails for {show_values(witness, relation)}: {_sides(relation, witness)}"]
        if witness
        else [f"`{relation}` does not hold"]
    )
    if pending.layer and requirement.code != "E0305":
        notes.append(f"in layer `{pending.layer}`")
    labels = tuple(
        Label(span, "")
        for n in requirement.inputs
        if n < len(pending.input_spans) and (span := pending.input_spans[n]) is not None
    )
    cure = f"if the network is only ever used where it holds, say so: `assert {relation}`" if witness and requirement.code != "E0305" else ""
    sink.error(requirement.code, requirement.message, pending.span, labels=labels, notes=tuple(notes), help=cure)


def _check_guard(network: Network, pending: PendingGuard, boxes: Mapping[str, Domain], sink: Sink) -> None:
    """What the whole domain left open may be settled inside a profile: refuted there is an error."""
    relation = pending.requirement.relation
    for profile in network.profiles:
        proof = prove(relation, boxes[profile.name])
        if proof.verdict is Verdict.REFUTED and proof.witness:
            sink.error(
                "E0416",
                f"layer `{pending.layer}` is invalid inside profile `{profile.name}`: {pending.requirement.message}",
                pending.span,
                labels=(Label(profile.span, "this profile"),) if profile.span else (),
                notes=(
                    f"fails {_corner(profile, proof.witness)}, {show_values(proof.witness, relation)}: {_sides(relation, proof.witness)}",
                ),
            )
            return
    sink.warning(
        "W0401",
        f"not proven for all values of the dims: {pending.requirement.message}",
        pending.span,
        notes=(f"`{relation}` is checked at run time, for each new shape",),
    )


def _corner(profile: Profile, witness: Mapping[str, int]) -> str:
    for which, word in (("minimum", "at min"), ("optimum", "at opt"), ("maximum", "at max")):
        if all(witness.get(n, v) == v for n, v in profile.corner(which).items()):
            return word
    return "inside the box"


def _check_asserts(network: Network, sink: Sink) -> None:
    domain = Domain(make_domain(network.dims, network.data_dims, ()).ranges)
    for a in network.asserts:
        if a.relation.symbols <= domain.ranges.keys() and prove(a.relation.negated(), domain).verdict is Verdict.PROVED:
            sink.error("E0403", f"`{a.relation}` holds for no values of the dims", a.span)


def _check_profile_asserts(network: Network, profile: Profile, box: Domain, sink: Sink) -> None:
    free = Domain(box.ranges)
    for a in network.asserts:
        proof = prove(a.relation, free)
        if proof.verdict is Verdict.REFUTED and proof.witness:
            values = show_values(proof.witness, a.relation)
            sink.error(
                "E0415",
                f"profile `{profile.name}` breaks `assert {a.relation}`{f' ({a.message})' if a.message else ''}",
                profile.span,
                labels=(Label(a.span, "the assert"),) if a.span else (),
                notes=(f"fails {_corner(profile, proof.witness)}: {values}: {_sides(a.relation, proof.witness)}",),
            )


def _check_sizes(network: Network, domain: Domain, sink: Sink) -> None:
    seen: set[tuple[Dim, ...]] = set()
    tensors: list[tuple[Tensor, Span | None]] = [(t, None) for t in network.inputs]
    tensors += [(t, layer.origin.span) for layer in walk(network.graph) for t in layer.outputs]
    for tensor, span in tensors:
        if tensor.shape in seen:
            continue
        seen.add(tensor.shape)
        count = product(tensor.shape)
        high = count if isinstance(count, int) else bounds(count, domain)[1]
        if high > SIZE_LIMIT:
            sink.error(
                "E0418",
                f"`{tensor.name}` ({tensor.type}) would have up to {high:.3g} elements",
                span,
                notes=(f"the limit is 2^{SIZE_LIMIT.bit_length() - 1}",),
            )


def _check_dims(network: Network, sink: Sink, spans: Mapping[str, Span]) -> None:
    """Every dim must follow from an input's shape, or the runtime could not know it."""
    known = solvable_dims(network)
    named = {s for t in network.inputs for d in t.shape for s in symbols(d)}
    for name in network.dims:
        if name in known:
            continue
        if name in named:
            sink.error(
                "E0402",
                f"dim `{name}` can't be read off an input's shape",
                spans.get(name),
                notes=("it occurs only inside expressions that can't be solved for it",),
                help=f"let an input have a dim that is `{name}` alone",
            )
        else:
            sink.error(
                "E0402",
                f"dim `{name}` constrains nothing: no input's shape has it",
                spans.get(name),
                help="remove it, or use it in an input",
            )


def solvable_dims(network: Network) -> set[str]:
    """The dims that follow from the inputs' shapes, one equation after another."""
    known: set[str] = set()
    equations = [d for t in network.inputs for d in t.shape if isinstance(d, Expr)]
    progress = True
    while progress:
        progress = False
        for dim in equations:
            unknown = dim.symbols - known
            if len(unknown) == 1 and linear(dim, next(iter(unknown))):
                known |= unknown
                progress = True
    return known


def linear(dim: Expr, name: str) -> bool:
    """Whether `dim` is `a * name + b` with a constant a > 0 and b free of `name`."""
    slope = _slope(dim, name)
    return isinstance(slope, int) and slope > 0


def _slope(dim: Expr, name: str) -> Dim:
    one = substitute(dim, {name: symbol(name) + 1})
    return one - dim


def solve_dims(shapes: Iterable[tuple[tuple[Dim, ...], tuple[int, ...]]]) -> dict[str, int]:
    """The dims' values from (declared shape, actual shape) pairs of equal rank. Whether all entries agree is the caller's to check."""
    values: dict[str, int] = {}
    open_equations = [(d, n) for declared, actual in shapes for d, n in zip(declared, actual, strict=True) if isinstance(d, Expr)]
    progress = True
    while progress and open_equations:
        progress = False
        rest = []
        for dim, size in open_equations:
            reduced = substitute(dim, values)
            if isinstance(reduced, int):
                progress = True
                continue
            names = reduced.symbols
            name = next(iter(names))
            slope = _slope(reduced, name) if len(names) == 1 else 0
            if isinstance(slope, int) and slope > 0:
                offset = evaluate(reduced, {name: 0})
                values[name] = (size - offset) // slope
                progress = True
            else:
                rest.append((dim, size))
        open_equations = rest
    return values
