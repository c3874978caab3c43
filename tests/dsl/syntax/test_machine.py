"""The parser's tables on disk: used when they are there and can be trusted, done without when not."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from trtn.dsl.syntax.collecting import no_collections
from trtn.dsl.syntax.machine import Machine, lend_machine


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/trtn/grammar"


def test_written_privately_and_read_again(cache: Path) -> None:
    Machine("weights")
    (file,) = cache.iterdir()
    assert file.suffix == ".json"
    assert cache.stat().st_mode & 0o777 == 0o700
    stamp = file.stat().st_mtime_ns
    assert Machine("weights").automaton.actions
    assert file.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("content", [b"", b"not JSON", b"\x80\x04.", b"{}", b"[]"])
def test_damaged_file(cache: Path, content: bytes) -> None:
    Machine("weights")
    (file,) = cache.iterdir()
    file.write_bytes(content)
    assert Machine("weights").automaton.actions


def test_folder_that_others_can_write_to(cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    assert Machine("weights").automaton.actions
    assert not list(cache.iterdir())


def test_no_folder_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert Machine("weights").automaton.actions


def test_lending() -> None:
    with lend_machine("weights") as first, lend_machine("weights") as second:
        assert first is not second
        assert not gc.isenabled()
    assert gc.isenabled()
    with lend_machine("weights") as third:
        assert third in (first, second)


def test_tables_that_are_there_need_no_lark(cache: Path) -> None:
    Machine("weights")
    code = "import sys; from trtn.dsl.syntax.machine import Machine; Machine('weights'); print('lark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_collector_rests_until_the_last_thread_has_left() -> None:
    outer, inner = no_collections(), no_collections()
    with outer:
        inner.__enter__()
    assert not gc.isenabled()
    inner.__exit__(None, None, None)
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with no_collections():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
