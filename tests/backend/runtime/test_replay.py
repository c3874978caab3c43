"""Many foreign calls in one go."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest

from trtn.backend import machine_code
from trtn.backend.devices import openmp
from trtn.backend.devices.cpu import CPU
from trtn.backend.providers.base import ForeignCall, Launch
from trtn.backend.runtime.replay import replayed

pytestmark = pytest.mark.skipif(machine_code.unavailable() is not None, reason=str(machine_code.unavailable()))

TAKES_FOUR = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
TAKES_ONE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64)


def launch_of(calls: list[ForeignCall], again: Callable[[], None]) -> Launch:
    def launch() -> None:
        again()

    launch.calls = calls  # type: ignore[attr-defined]
    return launch


def test_calls_are_made_in_order_with_their_arguments() -> None:
    seen: list[tuple[int, ...]] = []
    four = TAKES_FOUR(lambda *given: seen.append(tuple(g or 0 for g in given)) or 0)
    one = TAKES_ONE(lambda given: seen.append((given,)) or 0)
    addresses = [ctypes.cast(f, ctypes.c_void_p).value or 0 for f in (four, one)]
    first = launch_of([ForeignCall(addresses[0], (1 << 40, 2, 3, 4)), ForeignCall(addresses[1], (-5,))], seen.clear)
    second = launch_of([ForeignCall(addresses[1], (6,))], seen.clear)
    together = replayed([first, second])
    assert together is not None
    for _ in range(2):
        seen.clear()
        together()
        assert seen == [(1 << 40, 2, 3, 4), (-5,), (6,)]


def test_a_call_that_fails_is_made_again_by_its_launch_which_raises() -> None:
    made: list[int] = []
    one = TAKES_ONE(lambda given: made.append(given) or int(given == 2))
    address = ctypes.cast(one, ctypes.c_void_p).value or 0

    def fail() -> None:
        raise IndexError("an index is outside its axis")

    def other() -> None:
        raise AssertionError("this one has not failed")

    launches = [launch_of([ForeignCall(address, (n,))], fail if n == 2 else other) for n in range(4)]
    together = replayed(launches)
    assert together is not None
    with pytest.raises(IndexError, match="outside its axis"):
        together()
    assert made == [0, 1, 2]


def test_calls_of_too_many_arguments_are_left_alone() -> None:
    assert replayed([launch_of([ForeignCall(1, (1, 2, 3, 4, 5))], lambda: None)] * 2) is None


@pytest.mark.skipif(openmp.open_library() is None, reason="there is no OpenMP library")
def test_calls_that_are_to_run_alone() -> None:
    """Before each of them, and after the last, the number of threads is what it has to be."""
    seen: list[tuple[int, int]] = []
    one = TAKES_ONE(lambda given: seen.append((given, openmp.threads())) or int(given == 9))
    address = ctypes.cast(one, ctypes.c_void_p).value or 0

    def call(number: int, alone: bool) -> Launch:
        return launch_of([ForeignCall(address, (number,), alone=alone)], lambda: None)

    with CPU(3).running(compiled=True, arrays=False):
        for last in (4, 9):
            together = replayed([call(1, False), call(2, True), call(3, True), call(4, False), call(last, True)])
            assert together is not None
            seen.clear()
            together()
            assert seen == [(1, 3), (2, 1), (3, 1), (4, 3), (last, 1)]
            assert openmp.threads() == 3
