"""The tuner's decisions, with providers and a clock that say what the test wants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backend.harness import network
from tests.backend.tuner.fakes import FakeClock, FakeProvider
from trtn.backend.devices.cpu import CPU
from trtn.backend.fusion import partition
from trtn.backend.plan.arrays import plan_problems
from trtn.backend.problem import Problem
from trtn.backend.providers import Tactic, TacticError
from trtn.backend.providers.reference import PROVIDER as REFERENCE
from trtn.backend.runtime.engine import storage_on
from trtn.backend.tuner.bench import CpuBench, DeviceLostError
from trtn.backend.tuner.cache import TimingCache
from trtn.backend.tuner.lock import Entry
from trtn.backend.tuner.tuner import Tuner
from trtn.dsl.errors import BuildError

TEXT = "network n { dim N in 1..8 input x: f32[N, 4] output y: f32[N, 4] y = softmax(softmax(tanh(softmax(x)))) }"
US = 1e-6


def problems(text: str = TEXT, **sizes: int) -> list[Problem]:
    net = network(text)
    groups = partition(net)
    found = plan_problems(net, groups, storage_on("cpu", net, groups, ()), sizes or {"N": 4}, 1)
    return [p for p in found if p is not None]


def names(count: int) -> list[Tactic]:
    return [Tactic(f"t{n:02}") for n in range(count)]


def tuner(provider: FakeProvider, clock: Any, **options: Any) -> Tuner:
    return Tuner([REFERENCE, provider], CPU(), clock, **options)


def chosen(provider: FakeProvider, clock: Any, **options: Any) -> Any:
    """The choice for the softmax."""
    (choice, *_) = tuner(provider, clock, **options).choose(problems())
    return choice


def test_the_fastest_wins_and_equal_problems_are_decided_once() -> None:
    provider = FakeProvider(tactics_=names(3))
    clock = FakeClock({"t00": 5 * US, "t01": 3 * US, "t02": 4 * US, "eval": 9 * US})
    found = tuner(provider, clock).choose(problems())
    assert [(c.provider, c.tactic, c.origin) for c in found] == [
        ("fake", "t01", "measured"),
        ("reference", "eval", "only"),
        ("fake", "t01", "measured"),
        ("fake", "t01", "measured"),
    ]
    assert found[0].seconds == 3 * US
    assert clock.trials == {"t00": 1, "t01": 1, "t02": 1, "eval": 1}


def test_the_reference_competes() -> None:
    clock = FakeClock({"t00": 5 * US, "eval": 2 * US})
    assert chosen(FakeProvider(tactics_=names(1)), clock).provider == "reference"


def test_a_slow_first_launch_ends_a_candidate() -> None:
    clock = FakeClock({"t00": 1 * US, "t01": 100 * US, "t02": 2 * US, "eval": 50 * US})
    assert chosen(FakeProvider(tactics_=names(3)), clock).tactic == "t00"
    assert clock.samples["t01"] == 0
    assert clock.samples["eval"] == 0


def test_the_close_ones_are_timed_again_in_turns() -> None:
    """The second is faster by 5 %, which shows in the least of many samples and not in the first."""
    noise = (1.2, 1.0, 1.1, 1.05)
    clock = FakeClock({"t00": 1.0 * US, "t01": 0.95 * US, "eval": 9 * US}, noise)
    clock.samples["t00"] = 1  # its first sample is a lucky one
    choice = chosen(FakeProvider(tactics_=names(2)), clock)
    assert choice.tactic == "t01"
    assert choice.seconds == pytest.approx(0.95 * US)
    assert min(clock.samples["t00"], clock.samples["t01"]) > 4


def test_near_ties_go_to_less_workspace_then_to_the_name() -> None:
    tactics = [Tactic("t00", workspace=100), Tactic("t02"), Tactic("t01")]
    clock = FakeClock({"t00": 1.0 * US, "t01": 1.01 * US, "t02": 1.005 * US, "eval": 9 * US})
    assert chosen(FakeProvider(tactics_=tactics), clock).tactic == "t01"
    clock = FakeClock({"t00": 1.0 * US, "t01": 1.05 * US, "t02": 1.06 * US, "eval": 9 * US})
    assert chosen(FakeProvider(tactics_=tactics), clock).tactic == "t00"


def test_what_can_not_be_prepared_is_out() -> None:
    provider = FakeProvider(tactics_=names(2), broken=["t00"])
    assert chosen(provider, FakeClock({"t00": 1 * US, "t01": 2 * US, "eval": 9 * US})).tactic == "t01"
    provider = FakeProvider(tactics_=names(2), broken=["t00", "t01"])
    assert chosen(provider, FakeClock({"eval": 9 * US})).provider == "reference"


def test_what_is_not_timed_is_checked_once_where_that_is_asked_for() -> None:
    wrong = {"t00": TacticError("differs from the reference")}
    clock = FakeClock({}, errors=wrong)
    assert chosen(FakeProvider(tactics_=names(2)), clock, effort=0).tactic == "t00"
    assert not clock.trials
    provider = FakeProvider(tactics_=names(2))
    found = tuner(provider, clock, effort=0, checked=True)
    assert [c.tactic for c in found.choose(problems())] == ["t01", "eval", "t01", "t01"]
    assert clock.trials == {"t00": 1, "t01": 1} and not clock.samples
    assert [tactic for _, _, tactic in found.prepared] == ["t01"]
    clock = FakeClock({}, errors=wrong | {"t01": TacticError("differs, too")})
    assert chosen(provider, clock, effort=0, checked=True).provider == "reference"
    with pytest.raises(BuildError, match="illegal address"):
        chosen(provider, FakeClock({}, errors={"t00": DeviceLostError("illegal address")}), effort=0, checked=True)


def test_workspace_is_limited() -> None:
    tactics = [Tactic("t00", workspace=1000), Tactic("t01", workspace=10)]
    clock = FakeClock({"t00": 1 * US, "t01": 2 * US, "eval": 9 * US})
    assert chosen(FakeProvider(tactics_=tactics), clock, workspace=999).tactic == "t01"


def test_a_limit_of_workspace_is_of_one_build(tmp_path: Path) -> None:
    tactics = [Tactic("t00", workspace=1000), Tactic("t01", workspace=10)]
    clock, cache = FakeClock({"t00": 1 * US, "t01": 2 * US, "eval": 9 * US}), TimingCache(tmp_path, "device")
    assert chosen(FakeProvider(tactics_=tactics), clock, cache=cache, workspace=999).tactic == "t01"
    assert chosen(FakeProvider(tactics_=tactics), clock, cache=cache).tactic == "t00"


def test_no_memory_today_says_nothing_about_tomorrow(tmp_path: Path) -> None:
    cache = TimingCache(tmp_path, "device")
    seconds = {"t00": 1 * US, "t01": 2 * US, "eval": 9 * US}
    provider = FakeProvider(tactics_=names(2))
    clock = FakeClock(seconds, errors={"t00": MemoryError("full")})
    assert chosen(provider, clock, cache=cache).tactic == "t01"
    assert chosen(provider, FakeClock(seconds), cache=cache).tactic == "t00"


def test_a_tactic_that_loses_the_device_is_noted_and_left_out(tmp_path: Path) -> None:
    cache = TimingCache(tmp_path, "device")
    seconds = {"t00": 1 * US, "t01": 2 * US, "eval": 9 * US}
    provider = FakeProvider(tactics_=names(2))
    with pytest.raises(BuildError, match="the device reported an error"):
        chosen(provider, FakeClock(seconds, errors={"t00": DeviceLostError("illegal address")}), cache=cache)
    clock = FakeClock(seconds)
    assert chosen(provider, clock, cache=cache).tactic == "t01"
    assert clock.trials["t00"] == 0


def test_lower_precision_is_asked_for() -> None:
    tactics = [Tactic("t00", numerics="reduced"), Tactic("t01")]
    clock = FakeClock({"t00": 1 * US, "t01": 2 * US, "eval": 9 * US})
    assert chosen(FakeProvider(tactics_=tactics), clock).tactic == "t01"
    assert chosen(FakeProvider(tactics_=tactics), clock, reduced=True).tactic == "t00"


def test_efforts() -> None:
    """0 times nothing, 1 one tactic a provider; more try more, and stop where nothing gets better."""
    tactics = names(100)
    seconds = {t.name: (10 - min(n, 7)) * US for n, t in enumerate(tactics)} | {"eval": 90 * US, "t99": 0.5 * US}
    tried = []
    for effort in range(6):
        clock = FakeClock(seconds)
        choice = chosen(FakeProvider(tactics_=tactics), clock, effort=effort)
        tried.append(sum(clock.trials.values()))
        if effort == 0:
            assert (choice.tactic, choice.origin) == ("t00", "default")
        if effort == 5:
            assert choice.tactic == "t99"
    assert tried[:2] == [0, 2]
    assert tried == sorted(tried)
    assert tried[3] < 45
    assert tried[5] == 101


def test_times_are_cached_by_tactic(tmp_path: Path) -> None:
    clock = FakeClock({"t00": 5 * US, "t01": 3 * US, "t02": 1 * US, "eval": 9 * US})
    cache = TimingCache(tmp_path, "device")
    chosen(FakeProvider(tactics_=names(2)), clock, cache=cache)
    before = dict(clock.trials)
    again = chosen(FakeProvider(tactics_=names(2)), clock, cache=cache)
    assert (again.tactic, again.origin, again.seconds) == ("t01", "cache", 3 * US)
    assert clock.trials == before
    more = chosen(FakeProvider(tactics_=names(3)), clock, cache=cache)
    assert (more.tactic, more.origin) == ("t02", "measured")
    assert clock.trials == {**before, "t02": 1}
    assert chosen(FakeProvider(tactics_=names(3), number="2.0-1"), clock, cache=cache).origin == "measured"
    assert chosen(FakeProvider(tactics_=names(3)), clock, cache=TimingCache(tmp_path, "other")).origin == "measured"


def test_more_effort_tries_what_less_left(tmp_path: Path) -> None:
    tactics = names(60)
    seconds = {t.name: 5 * US for t in tactics} | {"eval": 9 * US, "t30": 1 * US}
    clock, cache = FakeClock(seconds), TimingCache(tmp_path, "device")
    assert chosen(FakeProvider(tactics_=tactics), clock, cache=cache, effort=3).tactic == "t00"
    assert chosen(FakeProvider(tactics_=tactics), clock, cache=cache, effort=3).origin == "cache"
    assert chosen(FakeProvider(tactics_=tactics), clock, cache=cache, effort=5).tactic == "t30"
    assert max(clock.trials.values()) == 1
    assert chosen(FakeProvider(tactics_=tactics), clock, cache=cache, effort=3).tactic == "t30"


def test_wrong_results_never_win() -> None:
    """With the CPU's own bench: results are held against the reference before a time counts."""
    provider = FakeProvider(tactics_=names(2), wrong=["t00"])
    bench = CpuBench(problems()[0], CPU())
    right, wrong = (provider.prepare(problems()[0], t, CPU()) for t in (Tactic("t01"), Tactic("t00")))
    assert bench.trial(right, Tactic("t01"), 1.0).sample() > 0
    with pytest.raises(TacticError, match="differs from the reference"):
        bench.trial(wrong, Tactic("t00"), 1.0)
    assert chosen(provider, CpuBench).tactic != "t00"


def test_kernels_made_on_the_way_are_handed_on() -> None:
    provider = FakeProvider(tactics_=names(2))
    maker = tuner(provider, FakeClock({"t00": 5 * US, "t01": 3 * US, "eval": 9 * US}))
    found = problems()
    maker.choose(found)
    assert list(maker.prepared) == [(found[0].key, "fake", "t01")]


def entry(problem: Problem, tactic: str, version: str = "1.0-1", provider: str = "fake") -> dict[str, Entry]:
    return {problem.key: Entry(problem.group.kind, problem.key, provider, version, tactic)}


def test_the_lock_decides() -> None:
    clock = FakeClock({})
    provider = FakeProvider(tactics_=names(2))
    found = problems()
    lock = entry(found[0], "t00") | entry(found[1], "eval", "1", "reference")
    assert {c.origin for c in tuner(provider, clock, lock=lock, locked=True).choose(found)} == {"lock"}
    assert not clock.trials


def test_another_version_is_said_and_decided_anew() -> None:
    clock = FakeClock({"t00": 5 * US, "t01": 3 * US, "eval": 9 * US})
    provider = FakeProvider(tactics_=names(2))
    found = problems()
    maker = tuner(provider, clock, lock=entry(found[0], "t00", "0.9-1"))
    assert maker.choose(found)[0].tactic == "t01"
    (warning,) = maker.warnings
    assert warning.code == "W0701"
    assert "fake 0.9-1" in warning.message
    assert "1.0-1" in warning.message
    with pytest.raises(BuildError, match="no valid entry for 2 of 2 problems") as caught:
        tuner(provider, clock, lock=entry(found[0], "t00", "0.9-1"), locked=True).choose(found)
    assert any("locked with fake 0.9-1" in note for note in caught.value.diagnostics[0].notes)


def test_a_locked_tactic_that_does_not_work_is_a_miss() -> None:
    provider = FakeProvider(tactics_=names(2), broken=["t00"])
    found = problems()
    lock = entry(found[0], "t00") | entry(found[1], "eval", "1", "reference")
    with pytest.raises(BuildError, match="no valid entry for 1 of 2"):
        tuner(provider, FakeClock({}), lock=lock, locked=True).choose(found)


def test_problems_that_can_not_be_checked_are_not_timed() -> None:
    """There is no telling what values indices may have; the reference refuses those that are made up."""
    text = "network n { dim N in 0..8 input x: f32[N, 4] output y: f32[4] y = reduce_max(x, axes=[0]) }"
    provider = FakeProvider(tactics_=names(1), kinds=["reduction"])
    choice = tuner(provider, CpuBench).choose(problems(text, N=0))[0]
    assert choice.origin in ("default", "measured")


def test_scalar_constants_tell_problems_apart() -> None:
    """A kernel may have them inside."""

    def key(number: str) -> str:
        text = f"network n {{ input x: f32[4] output y: f32[4] y = softmax(x) * {number} }}"
        return problems(text, N=0)[-1].key

    assert key("2.0") == key("2.0") != key("3.0")


def test_layouts_tell_problems_apart() -> None:
    text = "network n { input x: f32[4, 4] output y: f32[4, 4] z = softmax(x) y = softmax(transpose(z)) }"
    (first, second) = problems(text, N=0)
    assert first.key != second.key
    assert second.inputs[0].strides == (1, 4)
    assert np.prod(second.inputs[0].shape) == second.inputs[0].size
