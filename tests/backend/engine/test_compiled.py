"""Compiled kernels in engine files: what is written comes back, who is trusted, and what damage is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.backend.engine.damage import FEEDS, KERNELS, SPEC, WEIGHTS, forge, forge_kernels
from tests.backend.harness import assert_same, network
from trtn.backend.binaries import BinaryKey
from trtn.backend.build import build
from trtn.backend.engine.compiled import Compiled, read_compiled
from trtn.backend.engine.container import read_container
from trtn.backend.engine.file import load_engine
from trtn.backend.runtime import Engine
from trtn.dsl.errors import EngineError

A, B = sorted(KERNELS)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRTN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine whose tactics run compiled code."""
    built = build(network(SPEC, tmp_path, WEIGHTS), device="cpu")
    monkeypatch.setattr(built.kernels, "binaries", lambda: dict(reversed(KERNELS.items())))
    return built


@pytest.fixture
def path(engine: Engine, tmp_path: Path) -> Path:
    engine.save(tmp_path / "n.engine", kernels=True)
    return tmp_path / "n.engine"


def pieces(compiled: Mapping[BinaryKey, memoryview]) -> dict[BinaryKey, bytes]:
    return {key: bytes(piece) for key, piece in compiled.items()}


def test_they_are_asked_for(engine: Engine, path: Path, tmp_path: Path) -> None:
    assert pieces(load_engine(path).compiled) == KERNELS
    assert list(load_engine(path).compiled) == [A, B]
    engine.save(tmp_path / "plain.engine")
    plain = read_container(tmp_path / "plain.engine")
    assert plain.names == ("weights",)
    assert "kernels" not in plain.header
    assert load_engine(tmp_path / "plain.engine").compiled == {}


def test_saving_twice_gives_the_same_bytes(engine: Engine, path: Path, tmp_path: Path) -> None:
    engine.save(tmp_path / "again.engine", kernels=True)
    assert path.read_bytes() == (tmp_path / "again.engine").read_bytes()


def test_those_that_were_written_here_are_trusted(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_engine(path).trusted
    assert not load_engine(path, trusted=False).trusted
    monkeypatch.setenv("TRTN_CACHE", str(cache / "of another machine"))
    assert not load_engine(path).trusted
    assert load_engine(path, trusted=True).trusted
    monkeypatch.setenv("TRTN_CACHE", "off")
    assert not load_engine(path).trusted


@pytest.mark.parametrize("trusted", [True, False])
def test_only_trusted_ones_are_used(path: Path, trusted: bool) -> None:
    binaries = load_engine(path, trusted=trusted).hardware.binaries
    assert [binaries.find(key) for key in (A, B)] == ([*KERNELS.values()] if trusted else [None, None])


def test_the_same_code_under_other_names_is_not_this_machine_s_own(path: Path, tmp_path: Path) -> None:
    """Else one kernel could be run in another's place."""
    container = read_container(path)
    header = json.loads(json.dumps(container.header))
    header["kernels"][0][2], header["kernels"][1][2] = "0" * 64, "1" * 64
    forge(tmp_path / "bad.engine", header, bytes(container.section("weights")), b"".join(KERNELS.values()))
    swapped = load_engine(tmp_path / "bad.engine")
    assert pieces(swapped.compiled) != KERNELS
    assert not swapped.trusted


def test_a_loaded_engine_hands_on_only_what_it_runs(path: Path, tmp_path: Path) -> None:
    """What else the file had, trusted or not, is not in its copies."""
    load_engine(path, trusted=True).save(tmp_path / "copy.engine", kernels=True)
    assert not load_engine(tmp_path / "copy.engine").compiled.keys() & KERNELS.keys()


CHANGES: dict[str, tuple[Callable[[list[Any]], object], str]] = {
    "no list": (lambda t: t.__setitem__(0, {}), "not a list of 4"),
    "a short row": (lambda t: t[0].pop(), "not a list of 4"),
    "no text": (lambda t: t[0].__setitem__(0, 7), "not text"),
    "no name": (lambda t: t[0].__setitem__(1, ""), "no proper name"),
    "a name to trip over": (lambda t: t[0].__setitem__(1, "\n"), "no proper name"),
    "a long name": (lambda t: t[0].__setitem__(1, "x" * 256), "no proper name"),
    "no digest": (lambda t: t[0].__setitem__(2, "../../etc"), "no proper digest"),
    "no number": (lambda t: t[0].__setitem__(3, True), "not an integer"),
    "a length of nothing": (lambda t: t[0].__setitem__(3, 0), "outside of its section"),
    "a negative length": (lambda t: t[0].__setitem__(3, -8), "outside of its section"),
    "a huge length": (lambda t: t[0].__setitem__(3, 2**61), "outside of its section"),
    "a length too many": (lambda t: t[1].__setitem__(3, t[1][3] + 1), "outside of its section"),
    "a length too few": (lambda t: t[1].__setitem__(3, t[1][3] - 1), "do not fill their section"),
    "a row too few": (lambda t: t.pop(), "do not fill their section"),
    "no rows": (lambda t: t.clear(), "do not fill their section"),
    "a row twice": (lambda t: t.__setitem__(1, [*t[0][:3], t[1][3]]), "listed twice"),
    "rows out of order": (lambda t: t.reverse(), "not sorted"),
}


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_changed_tables(change: str, trusted: bool, path: Path, tmp_path: Path) -> None:
    edit, words = CHANGES[change]
    container = read_container(path)
    header = json.loads(json.dumps(container.header))
    edit(header["kernels"])
    forge(tmp_path / "bad.engine", header, bytes(container.section("weights")), bytes(container.section("kernels")))
    with pytest.raises(EngineError, match=words) as caught:
        load_engine(tmp_path / "bad.engine", trusted=trusted)
    assert caught.value.diagnostics[0].code == "E0703"


def test_a_table_without_its_section_and_the_reverse(path: Path, tmp_path: Path) -> None:
    container = read_container(path)
    header, weights, kernels = (
        container.header,
        bytes(container.section("weights")),
        bytes(container.section("kernels")),
    )
    forge(tmp_path / "bad.engine", header, weights)
    with pytest.raises(EngineError, match="without the section"):
        load_engine(tmp_path / "bad.engine")
    forge(tmp_path / "bad.engine", {k: v for k, v in header.items() if k != "kernels"}, weights, kernels)
    with pytest.raises(EngineError, match="without the section"):
        load_engine(tmp_path / "bad.engine")


def test_code_is_held_against_its_hash_whatever_is_asked_for(path: Path) -> None:
    """Weights may go unchecked, code that is going to be run may not."""
    data = bytearray(path.read_bytes())
    at = bytes(data).index(KERNELS[B])
    data[at] ^= 1
    with pytest.raises(EngineError, match="section `kernels` is damaged"):
        load_engine(bytes(data))
    with pytest.raises(EngineError, match="section `kernels` is damaged"):
        load_engine(bytes(data), verify=False, trusted=True)
    assert not load_engine(bytes(data), verify=False, trusted=False).trusted


def test_a_cache_folder_that_can_not_be_written_is_no_error(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRTN_CACHE", str(tmp_path / "file"))
    engine.save(tmp_path / "n.engine", kernels=True)
    assert not load_engine(tmp_path / "n.engine").trusted


def test_an_engine_with_them_runs(path: Path, engine: Engine) -> None:
    assert_same(load_engine(path, trusted=True).run(FEEDS), engine.run(FEEDS))


def test_forged_kernels_are_well_formed(path: Path, tmp_path: Path) -> None:
    """The other tests of damage start from them."""
    container = read_container(path)
    assert forge_kernels(container.header) == container.header
    assert read_compiled(container).pieces == Compiled.of(KERNELS).pieces
