"""Proofs over the dims: what every layer needs, what the asserts say, what each profile's box allows.

A relation that holds for all values of the dims is done with. One that fails for some is an error, with those values.
One that is neither shown nor refuted becomes a guard, which the runtime checks for each new shape; a warning says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from trtn.dsl.builder import PendingGuard
from trtn.dsl.diagnostics import Label, Sink, Span
from trtn.dsl.dims import (
    Dim,
    DimError,
    Domain,
    Expr,
    Proof,
    Range,
    Relation,
    Verdict,
    bounds,
    divisors,
    evaluate,
    product,
    prove,
    substitute,
    symbol,
    symbols,
)
from trtn.dsl.network import Assertion, Guard, Network, Profile, make_domain, walk
from trtn.dsl.ops.infer import Requirement

__all__ = ["check_network", "profile_domain", "solvable_dims", "solve_dims"]

SIZE_LIMIT = 2**62
"""The most elements a tensor may have at its largest."""


def check_network(
    network: Network,
    requirements: Iterable[PendingGuard],
    sink: Sink,
    spans: Mapping[str, Span] | None = None,
    *,
    complete: bool = True,
) -> Network:
    """Prove a network's relations; gives it with its guards. Findings go to the sink.

    spans: where dims and inputs are declared.
    complete: whether all inputs are there; only then can a dim be said to be unused.
    """
    spans = spans or {}
    domain = network.domain()
    if complete:
        _check_dims(network, sink, spans)
    if _check_asserts(network, domain, sink):
        _check_sizes(network, domain, sink, spans)
        demands = [*_divisors(network, spans), *requirements]
        boxes = {p.name: profile_domain(network, p) for p in network.profiles}
        for profile in network.profiles:
            _check_profile_asserts(network, profile, boxes[profile.name], sink)
        network = replace(network, guards=_check_requirements(network, demands, domain, boxes, sink))
    return network


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


def _settle(relation: Relation, domain: Domain) -> Proof:
    """`prove`, with "unknown" for what is too large to be worked with."""
    try:
        return prove(relation, domain)
    except DimError:
        return Proof(Verdict.UNKNOWN)


# --- layers ------------------------------------------------------------------------------------------------------


def _check_requirements(
    network: Network, requirements: Iterable[PendingGuard], domain: Domain, boxes: Mapping[str, Domain], sink: Sink
) -> tuple[Guard, ...]:
    guards: dict[Relation, Guard] = {}
    proofs: dict[Relation, Proof] = {}
    refused: dict[tuple[str, Span | None], str] = {}
    misused: set[str] = set()
    for pending in requirements:
        if misused and any(
            pending.layer == b or pending.layer.startswith(f"{b}.") for b in misused if b != pending.block
        ):
            continue
        relation = pending.requirement.relation
        proof = proofs.get(relation)
        if proof is None:
            # A range that may be empty must not count as a fact, or nothing would be found wrong where it is.
            where = domain if pending.requirement.code != "E0401" else _named_domain(network, relation.symbols)
            proof = proofs[relation] = _settle(relation, where)
        if proof.verdict is Verdict.REFUTED:
            if pending.block:
                misused.add(pending.block)
            # A place that a repeat or a block expands many times is reported for the first layer that it makes.
            if refused.setdefault((pending.requirement.code, pending.span), pending.layer) == pending.layer:
                _report(network, pending, proof, domain, sink)
        elif proof.verdict is Verdict.UNKNOWN and relation not in guards:
            guards[relation] = Guard(relation, pending.requirement.message, pending.layer, pending.span)
            _check_guard(network, pending, boxes, sink)
    return tuple(guards.values())


def _named_domain(network: Network, names: Collection[str]) -> Domain:
    """The network's domain without the data-dependent sizes other than these."""
    sizes = {n: d for n, d in network.data_dims.items() if n in names}
    known = network.dims.keys() | sizes.keys()
    return make_domain(network.dims, sizes, [a.relation for a in network.asserts if a.relation.symbols <= known])


def _report(network: Network, pending: PendingGuard, proof: Proof, domain: Domain, sink: Sink) -> None:
    requirement = pending.requirement
    relation = requirement.relation
    witness = proof.witness or {}
    notes = [f"`{relation}` fails for {show_values(witness, relation)}: {_sides(relation, witness)}"]
    if requirement.code not in ("E0305", "E0401"):
        notes.append(f"in layer `{pending.layer}`")
    labels = tuple(
        Label(span, "")
        for n in requirement.inputs
        if n < len(pending.input_spans) and (span := pending.input_spans[n]) is not None
    )
    cure = ""
    possible = _settle(relation.negated(), domain).verdict is not Verdict.PROVED
    if possible and relation.symbols <= network.dims.keys() and requirement.code != "E0305":
        cure = f"if the network is only ever used where it holds, say so: `assert {relation}`"
    sink.error(
        requirement.code,
        requirement.message,
        pending.span,
        labels=labels,
        notes=tuple(notes),
        help=cure,
        values=witness,
    )


def _check_guard(network: Network, pending: PendingGuard, boxes: Mapping[str, Domain], sink: Sink) -> None:
    """What the whole domain left open may be settled inside a profile: refuted there is an error."""
    relation = pending.requirement.relation
    for profile in network.profiles:
        proof = _settle(relation, boxes[profile.name])
        if proof.witness is not None:
            where, witness = _at_corner(profile, boxes[profile.name], relation, proof.witness)
            sink.error(
                "E0416",
                f"layer `{pending.layer}` is invalid inside profile `{profile.name}`: {pending.requirement.message}",
                pending.span,
                labels=(Label(profile.span, "this profile"),) if profile.span else (),
                notes=(f"fails {where}: {show_values(witness, relation)}: {_sides(relation, witness)}",),
                values=witness,
            )
            return
    sink.warning(
        "W0401",
        f"not proven for all values of the dims: {pending.requirement.message}",
        pending.span,
        notes=(f"`{relation}` is checked at run time, for each new shape",),
    )


# --- asserts and profiles ----------------------------------------------------------------------------------------


def _check_asserts(network: Network, domain: Domain, sink: Sink) -> bool:
    """Report asserts that exclude nothing or everything. False where they leave nothing to prove anything for."""
    free = make_domain(network.dims, network.data_dims, ())
    possible = True
    for n, a in enumerate(network.asserts):
        _check_assert_divisors(
            a, make_domain(network.dims, network.data_dims, (b.relation for b in network.asserts[:n])), sink
        )
        if not a.relation.symbols <= free.ranges.keys():
            continue
        if _settle(a.relation.negated(), free).verdict is Verdict.PROVED:
            sink.error("E0403", f"`{a.relation}` holds for no values of the dims", a.span)
            possible = False
        elif len(a.relation.symbols) == 1 and _settle(a.relation, free).verdict is Verdict.PROVED:
            # About several dims it may well hold anyway: no range can say it, and ranges get wider.
            sink.error("E0404", f"`{a.relation}` holds for all values of the dims anyway", a.span)
    # In a domain without points everything holds, even this.
    if possible and _settle(Relation("==", 0, 1), domain).verdict is Verdict.PROVED:
        possible = False
        if network.asserts:
            *others, last = network.asserts
            listed = ", ".join(f"`{a.relation}`" for a in others)
            where = f"where {listed} hold{'s' * (len(others) == 1)}"
            sink.error("E0403", f"`{last.relation}` holds for no values of the dims {where}", last.span)
    return possible


def _check_assert_divisors(assertion: Assertion, before: Domain, sink: Sink) -> None:
    """What an assert divides by is at least 1 wherever the asserts before it hold: they are checked in this order."""
    for divisor in (d for side in (assertion.relation.left, assertion.relation.right) for d in divisors(side)):
        relation = Relation(">=", divisor, 1)
        proof = _settle(relation, before)
        if proof.witness is not None:
            sink.error(
                "E0313",
                f"`assert {assertion.relation}` divides by `{divisor}`, which may be less than 1",
                assertion.span,
                notes=(f"`{relation}` fails for {show_values(proof.witness, relation)}",),
                values=proof.witness,
            )


def _check_profile_asserts(network: Network, profile: Profile, box: Domain, sink: Sink) -> None:
    free = Domain(box.ranges)
    for a in network.asserts:
        proof = _settle(a.relation, free)
        if proof.witness is not None:
            where, witness = _at_corner(profile, free, a.relation, proof.witness)
            sink.error(
                "E0415",
                f"profile `{profile.name}` breaks `assert {a.relation}`{f' ({a.message})' if a.message else ''}",
                profile.span,
                labels=(Label(a.span, "the assert"),) if a.span else (),
                notes=(f"fails {where}: {show_values(witness, a.relation)}: {_sides(a.relation, witness)}",),
                values=witness,
            )


def _at_corner(
    profile: Profile, box: Domain, relation: Relation, witness: Mapping[str, int]
) -> tuple[str, Mapping[str, int]]:
    """Where in a profile's box a relation fails: at one of its corners if it does there, else at the witness."""
    for which, word in (("minimum", "at min"), ("optimum", "at opt"), ("maximum", "at max")):
        point = {**witness, **profile.corner(which)}
        if box.contains(point) and not relation.holds(point):
            return word, point
    return "inside the box", witness


# --- dims and sizes ----------------------------------------------------------------------------------------------


def _divisors(network: Network, spans: Mapping[str, Span]) -> Iterator[PendingGuard]:
    """A dim may only be divided by what is at least 1: a relation for each divisor, at the first place that has it."""
    seen: set[Dim] = set()
    for what, layer, dims, span in _uses(network, spans):
        for divisor in (d for dim in dims for d in divisors(dim) if d not in seen):
            seen.add(divisor)
            message = f"{what} divides by `{divisor}`, which may be less than 1"
            yield PendingGuard(Requirement(Relation(">=", divisor, 1), message, "E0313"), layer, span)


def _uses(network: Network, spans: Mapping[str, Span]) -> Iterator[tuple[str, str, Iterable[Dim], Span | None]]:
    """Where dims are written or come about: what to call the place, the layer, the dims, the span."""
    for t in network.inputs:
        yield f"`{t.name}` ({t.type})", t.name, t.shape, spans.get(t.name)
    for layer in walk(network.graph):
        for value in layer.attrs.values():
            if isinstance(value, Expr | tuple):
                yield f"`{layer.op.name}`", layer.name, _leaves(value), layer.origin.span
        for t in layer.outputs:
            yield f"`{t.name}` ({t.type})", layer.name, t.shape, layer.origin.span


def _leaves(value: object) -> Iterator[Dim]:
    """The dim expressions of an attribute."""
    if isinstance(value, Expr):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _leaves(item)


def _check_sizes(network: Network, domain: Domain, sink: Sink, spans: Mapping[str, Span]) -> None:
    seen: set[tuple[Dim, ...]] = set()
    refused: set[Span | None] = set()
    tensors = [(t, spans.get(t.name)) for t in network.inputs]
    tensors += [(t, layer.origin.span) for layer in walk(network.graph) for t in layer.outputs]
    for tensor, span in tensors:
        shape = tensor.shape
        if shape in seen or span in refused:
            continue
        seen.add(shape)
        try:
            high = bounds(product(shape), domain)[1]
        except DimError:  # divides by what may be 0, which is an error of its own; or is too large to be worked with
            continue
        if high > SIZE_LIMIT:
            refused.add(span)
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
    return _slope(dim, name) > 0


def _slope(dim: Expr, name: str) -> int:
    """What `dim` grows by when `name` does by 1; 0 where that is no constant."""
    try:
        change = substitute(dim, {name: symbol(name) + 1}) - dim
    except DimError:
        return 0
    return change if isinstance(change, int) else 0


def solve_dims(shapes: Iterable[tuple[tuple[Dim, ...], tuple[int, ...]]]) -> dict[str, int]:
    """The dims' values from (declared shape, actual shape) pairs of equal rank.

    Whether all entries agree is the caller's to check.
    """
    values: dict[str, int] = {}
    open_equations = [
        (d, n) for declared, actual in shapes for d, n in zip(declared, actual, strict=True) if isinstance(d, Expr)
    ]
    progress = True
    while progress and open_equations:
        progress = False
        rest = []
        for dim, size in open_equations:
            try:
                reduced = substitute(dim, values)
            except DimError:  # sizes that no network is defined for: a division by zero
                continue
            if isinstance(reduced, int):
                progress = True
                continue
            names = reduced.symbols
            name = next(iter(names))
            slope = _slope(reduced, name) if len(names) == 1 else 0
            if slope > 0:
                offset = evaluate(reduced, {name: 0})
                values[name] = (size - offset) // slope
                progress = True
            else:
                rest.append((dim, size))
        open_equations = rest
    return values
