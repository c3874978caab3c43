"""The checker against brute force: what `check` accepts runs at every shape, what it rejects fails at its witness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from unittest.mock import patch

import numpy as np
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.dsl.random_specs import specs
from tests.interpreter import evaluate_network
from trtn.dsl import check
from trtn.dsl.builder import PendingGuard
from trtn.dsl.check import check_network, profile_domain
from trtn.dsl.diagnostics import Diagnostic, Sink, Source
from trtn.dsl.dims import Domain, Proof, Relation, Verdict, evaluate, prove, sample
from trtn.dsl.dims.domain import enumerate_points
from trtn.dsl.elaborate import Elaborated, Loader, elaborate_network
from trtn.dsl.network import Network

Env = Mapping[str, int]

RANDOM = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, print_blob=False)


def elaborated(text: str, sink: Sink) -> Elaborated | None:
    unit = Loader(sink).unit(Source("m.trtn", text))
    return elaborate_network(unit, unit.networks["m"], sink)


def fault(network: Network, env: Env) -> str:
    """What goes wrong when NumPy runs the network at this point, every result held against its inferred type; "" for nothing."""
    shapes = {t.name: tuple(evaluate(d, env) for d in t.shape) for t in network.inputs}
    feeds = {t.name: np.zeros(shapes[t.name], t.dtype.numpy) for t in network.inputs if min(shapes[t.name], default=0) >= 0}
    if len(feeds) < len(shapes):
        return "an input has a negative size"
    try:
        evaluate_network(replace(network, guards=()), feeds)
    except Exception as e:
        return f"{type(e).__name__}: {e}" or "failed"
    return ""


def broadcasts(relation: Relation, env: Env) -> bool:
    """Whether a relation fails only because a dim happens to be 1: NumPy would broadcast it, the language only does where it is
    written as 1.
    """
    return relation.op == "==" and 1 in (evaluate(relation.left, env), evaluate(relation.right, env))


def relation_of(found: Diagnostic, pending: tuple[PendingGuard, ...]) -> Relation:
    (relation,) = {p.requirement.relation for p in pending if found.message.endswith(p.requirement.message) and p.span == found.span}
    return relation


@settings(RANDOM, max_examples=250)
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
    errors = [d for d in sink.diagnostics if d.severity == "error"]
    event("rejected" if errors else "accepted")
    event(f"{len(network.layers)} layers")
    for found in errors:
        assert found.values, found
        if found.code == "E0415":
            holds_in_profile(network, found)
            continue
        assert domain.contains(found.values), found
        if found.code == "E0313" and "divides by" in found.message:
            continue
        relation = relation_of(found, made.requirements)
        assert not relation.holds(found.values), found
        if found.code != "E0305":  # a stated type, which no layer depends on
            assert fault(made.network, found.values) or broadcasts(relation, found.values), found
    if not errors:
        assert not network.guards, "domains as small as these are decided"
        for env in enumerate_points(domain):
            assert not fault(network, env), env
        for profile in network.profiles:
            box = profile_domain(network, profile)
            points = list(enumerate_points(Domain(box.ranges)))
            assert all(domain.contains(env) for env in points)


def holds_in_profile(network: Network, found: Diagnostic) -> None:
    """The witness of E0415 lies inside the profile's box and breaks the assert, and where the note says so, at a corner."""
    (profile,) = [p for p in network.profiles if f"`{p.name}`" in found.message]
    (relation,) = [a.relation for a in network.asserts if f"`assert {a.relation}`" in found.message]
    assert Domain(profile_domain(network, profile).ranges).contains(found.values)
    assert not relation.holds(found.values)
    corners = [profile.corner(which) == found.values for which in ("minimum", "optimum", "maximum")]
    where = ["at min" in found.notes[0], "at opt" in found.notes[0], "at max" in found.notes[0]]
    assert where.index(True) == corners.index(True) if any(corners) else not any(where)
