"""Packed weights: each form once, whoever asks, and forms side by side; memory that starts where large pages do."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from trtn.backend.devices.cpu import CPU, HUGE_PAGE
from trtn.backend.devices.packing import PackedWeights


def test_two_forms_are_made_at_one_time_and_one_form_once() -> None:
    weights, meeting, made = PackedWeights(), threading.Barrier(2, timeout=20), []
    array = np.arange(4.0)

    def make(form: str) -> Any:
        meeting.wait()  # passes only when the other form is being made, too
        made.append(form)
        return f"{form} of it"

    found: dict[int, str] = {}

    def ask(number: int) -> None:
        form = "ab"[number % 2]
        found[number] = weights.get(array, 1, form, lambda _: make(form))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == ["a", "b"]
    assert found == {n: f"{'ab'[n % 2]} of it" for n in range(6)}


def test_a_form_that_could_not_be_made_is_tried_again() -> None:
    weights, array = PackedWeights(), np.arange(4.0)
    with pytest.raises(ZeroDivisionError):
        weights.get(array, 1, "f", lambda a: 1 // 0)
    assert weights.get(array, 1, "f", lambda a: a.sum()) == 6.0


def test_large_memory_starts_with_a_large_page() -> None:
    for nbytes in (1, 1000, 2 * HUGE_PAGE, 3 * HUGE_PAGE + 5):
        memory = CPU().arena(nbytes)
        assert memory.nbytes == nbytes and memory.ctypes.data % 64 == 0
        assert nbytes < 2 * HUGE_PAGE or memory.ctypes.data % HUGE_PAGE == 0


def test_work_is_spread_over_the_threads_of_a_run() -> None:
    done: list[int] = []
    CPU(threads=2).spread(lambda number, slot: done.append(number), 9)
    assert sorted(done) == list(range(9))
