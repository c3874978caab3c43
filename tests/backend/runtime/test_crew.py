"""Kernels that share the threads of a crew: every turn of every loop is done once, whoever takes it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trtn.backend import machine_code
from trtn.backend.devices import openmp
from trtn.backend.devices.cpu import CPU
from trtn.backend.providers.base import ForeignCall, Launch
from trtn.backend.runtime import replay
from trtn.backend.runtime.replay import replayed

pytestmark = [
    pytest.mark.skipif(machine_code.unavailable() is not None, reason=str(machine_code.unavailable())),
    pytest.mark.skipif(openmp.open_library() is None, reason="there is no OpenMP library"),
]

TURNS = 37
Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class Counting:
    """A kernel that adds one to each element of `counts`, an element a turn."""

    def __init__(self) -> None:
        from trtn.backend.providers.llvm.emitter import I64, NAME, POINTER, Emitter
        from trtn.backend.providers.llvm.gemm.threads import parallel_for

        e = Emitter(1)

        def turn(index: Any, values: list[Any]) -> None:
            (array,) = values
            e.store(e.b.add(e.load(array, index, I64), I64(1)), array, index, I64)

        count = e.given(TURNS)
        assert e.pointers[0].type == POINTER
        parallel_for(e, count, [e.pointers[0]], turn)
        text = e.text()
        self.function = machine_code.load(machine_code.compile_object(text), NAME)
        self.numbers = np.array(e.numbers, np.int64)

    def launch(self, counts: Any) -> Launch:
        table = (ctypes.c_void_p * 2)(counts.ctypes.data, self.numbers.ctypes.data)
        return _launch(ForeignCall(self.function.address, (ctypes.addressof(table), 0), shared=True), table)


@pytest.fixture(scope="module")
def counting() -> Counting:
    return Counting()


def _launch(call: ForeignCall, held: Any = None, again: Callable[[], None] = lambda: None) -> Launch:
    def launch() -> None:
        again()

    launch.calls, launch.held = [call], held  # type: ignore[attr-defined]
    return launch


def crews(launch: Launch) -> list[int]:
    """How many calls the crews of a launch make."""
    _, calls, _ = launch.held  # type: ignore[attr-defined]
    return [len(c.crew.calls) for c in calls if c.crew is not None]


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_each_turn_is_done_once(counting: Counting, threads: int) -> None:
    """With more threads than cores, too: some come late then, and find that all is done."""
    counts = [np.zeros(TURNS, np.int64) for _ in range(4)]
    with CPU(threads).running(compiled=True, arrays=False):
        together = replayed([counting.launch(array) for array in counts])
        assert together is not None
        assert crews(together) == ([4] if threads > 1 else [])
        for _ in range(200):
            together()
        assert openmp.threads() == threads
    for array in counts:
        np.testing.assert_array_equal(array, 200)


def test_calls_with_threads_of_their_own_stay_outside(counting: Counting) -> None:
    seen: list[int] = []
    other = Callback(lambda given, crew: seen.append(openmp.open_library().omp_in_parallel()) or 0)  # type: ignore[union-attr]
    address = ctypes.cast(other, ctypes.c_void_p).value or 0
    counts = np.zeros(TURNS, np.int64)

    def calls(shared: bool | None) -> list[Launch]:
        between = _launch(ForeignCall(address, (0, 0), shared=shared))
        ours = [counting.launch(counts) for _ in range(2)]
        return [between, *ours, between, *ours, between]

    with CPU(2).running(compiled=True, arrays=False):
        for shared, wanted, inside in ((None, [2, 2], [0, 0, 0]), (False, [5], [0, 1, 0])):
            together = replayed(calls(shared))
            assert together is not None
            assert crews(together) == wanted
            seen.clear()
            together()
            assert seen == inside
    np.testing.assert_array_equal(counts, 8)


def test_a_call_of_a_crew_that_fails_is_made_again_by_its_launch(counting: Counting) -> None:
    failing = Callback(lambda given, crew: 1)
    address = ctypes.cast(failing, ctypes.c_void_p).value or 0
    counts = np.zeros(TURNS, np.int64)

    def fail() -> None:
        raise IndexError("an index is outside its axis")

    broken = _launch(ForeignCall(address, (0, 0), shared=False), again=fail)
    ours = [counting.launch(counts) for _ in range(3)]
    with CPU(2).running(compiled=True, arrays=False):
        together = replayed([*ours[:2], broken, ours[2]])
        assert together is not None
        for _ in range(2):  # the crew can be called again
            with pytest.raises(IndexError, match="outside its axis"):
                together()
    np.testing.assert_array_equal(counts, 4)


def test_one_shared_call_needs_no_crew(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_Crew", None)
    counts = np.zeros(TURNS, np.int64)
    with CPU(2).running(compiled=True, arrays=False):
        together = replayed([counting.launch(counts)])
        assert together is not None
        together()
    np.testing.assert_array_equal(counts, 1)
