"""Times of steps on a GPU: between events, of every step that runs, without changing a result."""

from __future__ import annotations

import trtn
from tests.gpu.nets import SPECS, assert_close, make_feeds
from trtn.backend.runtime.profiler import profile_steps


def test_each_step_is_timed() -> None:
    net = trtn.load(SPECS / "lenet.trtn")
    engine = trtn.build(net, device="cuda", effort=0)
    feeds = make_feeds(net, {"N": 3})
    before = engine.run(feeds)
    found = profile_steps(engine, feeds, runs=3)
    assert {g.name for g in engine.groups if g.kind != "view"} <= found.steps.keys()
    assert all(ms > 0 for ms in found.steps.values())
    assert found.device == engine.device
    assert_close(engine.run(feeds), before, 0.0)
