"""Proofs over the dims: what every layer needs, what the asserts say, what each profile's box allows.

A relation that holds for all values of the dims is done with. One that fails for some is an error, with those values.
One that is neither shown nor refuted becomes a guard, which the runtime checks for each new shape; a warning says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from trtn.dsl.builder import PendingGuard
from trtn.dsl.check_sizes import check_dims, check_sizes, find_divisors
from trtn.dsl.diagnostics import Label, Sink, Span
from trtn.dsl.dims import (
    Dim,
    DimError,
    Domain,
    Proof,
    Range,
    Relation,
    Verdict,
    divisors,
    evaluate,
    prove,
)
from trtn.dsl.network import Assertion, Guard, Network, Profile, make_domain
from trtn.dsl.ops.infer import Requirement
from trtn.dsl.regions import TOP, Body, find_bodies, with_guards

__all__ = ["check_network", "profile_domain"]


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
        check_dims(network, sink, spans)
    if _check_asserts(network, domain, sink):
        check_sizes(network, domain, sink, spans)
        layers = _Layers(network, domain, sink)
        for profile in network.profiles:
            _check_profile_asserts(network, profile, layers.boxes[profile.name], sink)
        seen: set[tuple[Dim, Body]] = set()
        for body in (TOP, *find_bodies(network.graph)):
            for divisor in find_divisors(network, body, spans, seen):
                layers.settle(divisor, body)
        for pending in requirements:
            layers.check(pending)
        network = layers.checked()
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


class _Layers:
    """Settles what the layers of a network need, one relation after another."""

    def __init__(self, network: Network, domain: Domain, sink: Sink) -> None:
        self.network = network
        self.domain = domain
        self.sink = sink
        self.boxes = {p.name: profile_domain(network, p) for p in network.profiles}
        self._homes = {g: b for b in find_bodies(network.graph) if b.graph is not None for g in b.graph.guards}
        self._guards: dict[Body, dict[Relation, Guard]] = {}
        self._proofs: dict[tuple[Relation, Body, int], Proof] = {}
        """By relation, body and how many facts were known in it."""
        self._refused: dict[tuple[str, Span | None], str] = {}
        self._misused: set[str] = set()

    def check(self, pending: PendingGuard) -> None:
        body = self._homes.get(pending.guard, TOP)
        if pending.promised:
            self._guards.setdefault(body, {})[pending.requirement.relation] = pending.guard
        else:
            self.settle(pending, body)

    def settle(self, pending: PendingGuard, body: Body) -> None:
        """Prove what a layer of a body needs, or make it a guard, or report it."""
        layer, requirement = pending.layer, pending.requirement
        if any(layer == b or layer.startswith(f"{b}.") for b in self._misused if b != pending.block):
            return
        proof = self._prove(requirement, body)
        if proof.verdict is Verdict.PROVED:
            return
        if proof.verdict is Verdict.REFUTED and not (body.by_data and self._may_hold(requirement.relation, body)):
            if pending.block:
                self._misused.add(pending.block)
            # A place that a repeat or a block expands many times is reported for the first layer that it makes.
            if self._refused.setdefault((requirement.code, pending.span), layer) == layer:
                _report(self.network, pending, proof, self.domain, self.sink)
            if body is not TOP:  # one mistake is one finding: what follows in the body may count on it
                self._guards.setdefault(body, {})[requirement.relation] = pending.guard
            return
        if not any(requirement.relation in self._guards.get(b, {}) for b in body.chain()):
            self._guards.setdefault(body, {})[requirement.relation] = pending.guard
            if body.by_data:
                self._warn_of_body(pending, proof)
            else:
                self._check_guard(pending, body)

    def checked(self) -> Network:
        """The network with the guards that are left."""
        inner = {id(b.graph): tuple(guards.values()) for b, guards in self._guards.items() if b is not TOP}
        return replace(
            self.network,
            graph=with_guards(self.network.graph, inner) if self._homes or inner else self.network.graph,
            guards=tuple(self._guards.get(TOP, {}).values()),
        )

    def _prove(self, requirement: Requirement, body: Body) -> Proof:
        """A proof over the network's domain, or else over the part of it for which the body gets that far."""
        relation = requirement.relation
        proof = self._proofs.get((relation, TOP, 0))
        if proof is None:
            # A range that may be empty must not count as a fact, or nothing would be found wrong where it is.
            where = self.domain if requirement.code != "E0401" else _named_domain(self.network, relation.symbols)
            proof = self._proofs[relation, TOP, 0] = _settle(relation, where)
        facts = self._facts(body)
        if proof.verdict is Verdict.PROVED or not facts:
            return proof
        key = relation, body, len(facts)
        if key not in self._proofs:
            self._proofs[key] = _settle(relation, _narrower(self.domain, facts))
        return self._proofs[key]

    def _facts(self, body: Body) -> list[Relation]:
        """What holds beyond the network's domain when a body runs and its guards have been checked."""
        return [*body.runs_for, *(r for b in body.chain() if b is not TOP for r in self._guards.get(b, ()))]

    def _may_hold(self, relation: Relation, body: Body) -> bool:
        where = _narrower(self.domain, self._facts(body))
        return _settle(relation.negated(), where).verdict is not Verdict.PROVED

    def _warn_of_body(self, pending: PendingGuard, proof: Proof) -> None:
        """A body that the data decides to run may need more than the network; an assert says so on purpose."""
        requirement = pending.requirement
        if pending.assertion is not None:
            return
        relation, witness = requirement.relation, proof.witness
        notes = [f"`{relation}` is checked at run time, each time that this body runs"]
        if witness is not None:
            notes.append(f"it fails for {show_values(witness, relation)}: {_sides(relation, witness)}")
        self.sink.warning(
            "W0401",
            f"not proven for all values of the dims: {requirement.message}",
            pending.span,
            notes=tuple(notes),
            help=f"if the body only runs where it holds, say so in it: `assert {relation}`",
        )

    def _check_guard(self, pending: PendingGuard, body: Body) -> None:
        """What the whole domain left open may be settled inside a profile: refuted there is an error."""
        relation = pending.requirement.relation
        for profile in self.network.profiles:
            box = self.boxes[profile.name]
            proof = _settle(relation, _narrower(box, body.runs_for))
            if proof.witness is not None:
                where, witness = _at_corner(profile, box, relation, proof.witness)
                self.sink.error(
                    "E0416",
                    f"layer `{pending.layer}` is invalid inside profile `{profile.name}`: {pending.requirement.message}",
                    pending.span,
                    labels=(Label(profile.span, "this profile"),) if profile.span else (),
                    notes=(f"fails {where}: {show_values(witness, relation)}: {_sides(relation, witness)}",),
                    values=witness,
                )
                return
        self.sink.warning(
            "W0401",
            f"not proven for all values of the dims: {pending.requirement.message}",
            pending.span,
            notes=(f"`{relation}` is checked at run time, for each new shape",),
        )


def _narrower(domain: Domain, facts: Iterable[Relation]) -> Domain:
    return replace(domain, constraints=(*domain.constraints, *facts))


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
        elif _settle(a.relation, free).verdict is Verdict.PROVED:
            message = f"`{a.relation}` holds for all values of the dims anyway"
            if len(a.relation.symbols) == 1:
                sink.error("E0404", message, a.span)
            else:  # no range could say it instead, and ranges get wider
                sink.warning("W0402", message, a.span, help="remove it, or keep it for the day that a range is widened")
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
