"""Threads that share the blocks of a step."""

from __future__ import annotations

import os
import threading

import pytest

from trtn.backend.devices import workers as module
from trtn.backend.devices.workers import Workers, workers_for


@pytest.fixture(params=["spinning", "sleeping"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Workers:
    """Three threads, with OpenMP's locks where there are some, and without."""
    if request.param == "sleeping":
        monkeypatch.setattr(module, "open_library", lambda: None)
    return Workers(3)


def test_every_block_is_taken_once(workers: Workers) -> None:
    done: list[tuple[int, int]] = []
    for _ in range(200):
        done.clear()
        workers.share(lambda number, slot: done.append((number, slot)), 5)
        assert sorted(number for number, _ in done) == list(range(5))
        assert {slot for _, slot in done} <= {0, 1, 2}
    workers.run([[lambda: done.clear()]])
    assert not done
    workers.end()


def test_blocks_run_side_by_side(workers: Workers) -> None:
    """Each block waits for the others."""
    together = threading.Barrier(3)
    for _ in range(2):
        workers.share(lambda number, slot: together.wait(60) and None, 3)
        workers.end()  # new threads come when they are needed


def test_what_a_block_raises_is_raised_when_nobody_works_any_more(workers: Workers) -> None:
    at_work = threading.Barrier(2)
    ended: list[int] = []

    def fail(number: int, slot: int) -> None:
        if number < 2:
            at_work.wait(60)
        if number == 1:
            raise ValueError(number)
        ended.append(number)

    for _ in range(3):
        with pytest.raises(ValueError, match="1"):
            workers.share(fail, 40)
        assert 0 in ended
    workers.end()


def test_who_comes_second_works_alone(workers: Workers) -> None:
    """Also from within a block: nobody waits for threads that wait for it."""
    slots: list[int] = []

    def nested(number: int, slot: int) -> None:
        workers.share(lambda inner, slot: slots.append(slot), 4)

    workers.share(nested, 3)
    assert slots == [0] * 12
    workers.end()


def test_after_an_interruption_there_are_others(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module._Helper, "end", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        workers.share(lambda number, slot: None, 3)
    monkeypatch.undo()
    done: list[int] = []
    workers.share(lambda number, slot: done.append(number), 3)
    assert sorted(done) == [0, 1, 2]
    workers.end()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    workers = workers_for(2)
    assert workers_for(2) is workers
    workers.share(lambda number, slot: None, 2)
    child = os.fork()
    if not child:
        done: list[int] = []
        workers.share(lambda number, slot: done.append(number), 2)
        os._exit(len(done))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
