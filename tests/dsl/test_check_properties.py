"""The checker against brute force: what `check` accepts runs at every shape, what it rejects fails at its witness."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import numpy as np
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.dsl.random_specs import specs
from tests.interpreter import evaluate_network
from trtn.dsl import check
from trtn.dsl.check import check_network, profile_domain
from trtn.dsl.diagnostics import Diagnostic, Sink, Source, render
from trtn.dsl.dims import DimError, Domain, Relation, evaluate, proof, prove
from trtn.dsl.dims.domain import enumerate_points
from trtn.dsl.elaborate import Elaborated, Loader, elaborate_network
from trtn.dsl.load import check_source
from trtn.dsl.network import Guard, Network, walk
from trtn.dsl.regions import find_bodies, with_guards

Env = Mapping[str, int]

RANDOM = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def elaborated(text: str, sink: Sink) -> Elaborated | None:
    unit = Loader(sink).unit(Source("m.trtn", text))
    return elaborate_network(unit, unit.networks["m"], sink)


def fault(network: Network, env: Env) -> str:
    """What goes wrong when NumPy runs the network at this point; "" for nothing.

    Every result is held against its inferred type.
    """
    shapes = {t.name: tuple(evaluate(d, env) for d in t.shape) for t in network.inputs}
    if any(n < 0 for shape in shapes.values() for n in shape):
        return "an input has a negative size"
    feeds = {t.name: np.zeros(shapes[t.name], t.dtype.numpy) for t in network.inputs}
    try:
        evaluate_network(replace(network, graph=with_guards(network.graph, {}), guards=()), feeds)
    except Exception as e:
        return f"{type(e).__name__}: {e}"
    return ""


def guards_of(network: Network, env: Env | None = None) -> list[Guard]:
    """The network's guards and those of its bodies; with `env` only of bodies that run there."""
    found = list(network.guards)
    for body in find_bodies(network.graph):
        if body.graph is not None and (env is None or all(r.holds(env) for r in body.runs_for)):
            found += body.graph.guards
    return found


def failing(network: Network, env: Env) -> list[Guard]:
    """The guards that do not hold. One that divides by zero comes after one that says so, and is not looked at."""
    failed: list[Guard] = []
    for guard in guards_of(network, env):
        try:
            if not guard.relation.holds(env):
                failed.append(guard)
        except DimError:
            assert failed, guard
    return failed


def lenient(network: Network, message: str, relation: Relation, env: Env) -> bool:
    """Whether NumPy may do what the language refuses: stretch a dim that happens to be 1 where it is not written as 1,
    split off less than there is, count from the end where a symbolic bound happens to be negative, convolve with a
    kernel of no elements, and give nothing where the shapes come out as nothing (a window that does not fit, a slice
    that ends before it starts, the best of no rows).
    """
    if relation.op == "==" and 1 in (evaluate(relation.left, env), evaluate(relation.right, env)):
        return True
    if "do not add up" in message:
        return evaluate(relation.left, env) < evaluate(relation.right, env)
    if "a symbolic bound of `slice` is negative" in message or "is empty in dim" in message:
        return True
    return any(evaluate(d, env) <= 0 for layer in walk(network.graph) for t in layer.outputs for d in t.shape)


@settings(RANDOM, max_examples=500)
@given(specs())
def test_what_is_accepted_runs_and_what_is_rejected_fails_at_its_witness(text: str) -> None:
    sink = Sink()
    made = elaborated(text, sink)
    if made is None:
        event("refused by inference")
        assert sink.has_errors
        return
    network = check_network(made.network, made.requirements, sink)
    domain = network.domain()
    event("rejected" if sink.has_errors else "accepted")
    for found in sink.diagnostics:
        assert found.severity == "error", "domains as small as these are decided, without guards"
        if found.code == "E0415":
            fails_in_its_profile(network, found)
        else:
            assert domain.contains(found.values), found
            fails_at_its_witness(made, found, {d.code for d in sink.diagnostics} == {"E0305"})
    if not sink.has_errors:
        for env in enumerate_points(domain):
            assert not fault(network, env), env
        for profile in network.profiles:
            box = Domain(profile_domain(network, profile).ranges)
            assert all(domain.contains(env) for env in enumerate_points(box))


def fails_at_its_witness(made: Elaborated, found: Diagnostic, alone: bool) -> None:
    """The relation is false there, and a run fails. `alone`: no finding is about anything but stated types."""
    if "divides by" in found.message:
        assert "division by zero" in fault(made.network, found.values), found
        return
    (relation,) = {
        p.requirement.relation
        for p in made.requirements
        if (p.requirement.message, p.span) == (found.message, found.span)
    }
    assert not relation.holds(found.values), found
    wrong = fault(made.network, found.values)
    if found.code != "E0305":
        assert wrong or lenient(made.network, found.message, relation, found.values), found
    elif alone:  # no layer depends on a stated type: it is the type that is wrong, not what was inferred
        assert not wrong, found


def fails_in_its_profile(network: Network, found: Diagnostic) -> None:
    """The witness lies in the profile's box and breaks the assert; the note says where, by a corner if it is one."""
    (profile,) = [p for p in network.profiles if f"`{p.name}`" in found.message]
    (relation,) = [a.relation for a in network.asserts if f"`assert {a.relation}`" in found.message]
    assert Domain(profile_domain(network, profile).ranges).contains(found.values)
    assert not relation.holds(found.values)
    corners = {"at min": "minimum", "at opt": "optimum", "at max": "maximum"}
    broken = [words for words, which in corners.items() if not relation.holds(profile.corner(which))]
    assert f"fails {broken[0] if broken else 'inside the box'}: " in found.notes[0]


@settings(RANDOM, max_examples=200)
@given(specs(profiles=False))
def test_guards_hold_exactly_where_the_network_runs(text: str) -> None:
    """With a prover that tries no values, as for domains that are too large, much stays open and is left to guards."""
    sink = Sink()
    made = elaborated(text, sink)
    if made is None:
        return
    with patch.object(proof, "sample", lambda domain: iter(())), patch.object(check, "prove", partial(prove, budget=0)):
        network = check_network(made.network, made.requirements, sink)
    event(f"{len(guards_of(network))} guards")
    assert {d.code for d in sink.diagnostics} == ({"W0401"} if guards_of(network) else set())
    stated = {p.requirement.relation for p in made.requirements if p.requirement.code == "E0305"}
    for env in enumerate_points(network.domain()):
        failed = failing(network, env)
        wrong = fault(network, env)
        assert failed or not wrong, env
        for guard in failed:
            if guard.relation not in stated:
                assert wrong or lenient(network, guard.message, guard.relation, env), (guard, env)


@settings(RANDOM, max_examples=150)
@given(specs())
def test_what_stays_open_is_settled_inside_each_profile(text: str) -> None:
    """With a prover that tries values in a profile's box only, as where the box is small and the domain is large."""
    sink = Sink()
    made = elaborated(text, sink)
    if made is None:
        return

    def prove_in_boxes(relation: Relation, domain: Domain) -> proof.Proof:
        if domain.ranges != made.network.dims:
            return prove(relation, domain)
        with patch.object(proof, "sample", lambda domain: iter(())):
            return prove(relation, domain, budget=0)

    with patch.object(check, "prove", prove_in_boxes):
        network = check_network(made.network, made.requirements, sink)
    boxes = {p.name: profile_domain(network, p) for p in network.profiles}
    refused = [d for d in sink.diagnostics if d.code == "E0416"]
    event(f"{len(refused)} refused")
    for found in refused:
        (name,) = [n for n in boxes if f"`{n}`" in found.message]
        assert boxes[name].contains(found.values), found
        (guard,) = [g for g in guards_of(network) if found.message.endswith(g.message) and g.span == found.span]
        assert not guard.relation.holds(found.values), found
    if not sink.has_errors:
        small = [box for box in boxes.values() if box.ranges != network.dims]
        assert all(not failing(network, env) for box in small for env in enumerate_points(box))


ODD = (
    "none", "-1", "0", "1.5", "9" * 30, '"s"', "f32", "true", "[]", "[1, 2]", "N", "x0", "m", "{", "}", "inf", "N // 0",
)  # fmt: skip
EDITS = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 2))


@settings(RANDOM, max_examples=200)
@given(specs(), st.lists(EDITS, min_size=1, max_size=3))
def test_spoilt_specs_give_findings_and_never_a_traceback(text: str, edits: list[tuple[int, int, int]]) -> None:
    words = re.findall(r"\w+|\s+|[^\w\s]", text)
    network = words.index("network")
    for at, other, kind in edits:
        first = network if at % 4 else 0
        word = ["", ODD[other % len(ODD)], words[other % len(words)]][kind]
        words[first + at % (len(words) - first)] = word
    sink = Sink()
    networks = check_source(Source("m.trtn", "".join(words)), sink)
    event("rejected" if sink.has_errors else "accepted")
    assert sink.has_errors or len(networks) == 1
    assert render(sink.diagnostics, "json")
