"""Damaged and hostile engine files are refused, and the refusal names the part. TRTN_FULL_TESTS runs the long
version.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backend.engine.damage import FEEDS, SPEC, WEIGHTS, forge
from tests.backend.harness import assert_same, network
from trtn.backend.build import build
from trtn.backend.engine.container import read_container
from trtn.backend.engine.file import load_engine
from trtn.backend.providers import reference_provider
from trtn.backend.runtime import Engine
from trtn.dsl.errors import EngineError, ShapeError

COUNT = 2000 if os.environ.get("TRTN_FULL_TESTS") else 300


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    build(network(SPEC, folder, WEIGHTS), device="cpu").save(folder / "n.engine")
    return folder / "n.engine"


@pytest.fixture(scope="module")
def parts(path: Path) -> tuple[dict[str, Any], bytes]:
    container = read_container(path)
    return container.header, bytes(container.section("weights"))


def refusal(path: Path | bytes, code: str = "E0703") -> str:
    with pytest.raises(EngineError) as caught:
        load_engine(path)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == code
    return diagnostic.message


def test_random_damage_is_refused_or_harmless() -> None:
    """In a process of its own, with an address space of 2 GiB; a crash would end that process only."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.backend.engine.damage", str(COUNT), "7"],
        capture_output=True,
        text=True,
        timeout=60 + COUNT // 4,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode in (0, 1), done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert not report["findings"]
    assert report["grown_MiB"] < 200
    blind, hostile = report["blind"], report["hostile"]
    assert set(blind) <= {"refused", "same"}  # "same": the damage happened to change nothing
    assert blind["refused"] > COUNT * 0.4
    assert set(hostile) <= {"refused", "same", "other", "error", "slow"}
    assert COUNT * 0.3 < hostile["refused"] < COUNT * 0.5
    assert hostile.get("slow", 0) <= COUNT * 0.01


def test_the_damaged_section_is_named(path: Path, tmp_path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    bad = tmp_path / "bad.engine"
    bad.write_bytes(data)
    message = refusal(bad)
    assert str(bad) in message
    assert "section `weights` is damaged" in message
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    assert "the header's sha256 differs" in refusal(bytes(data))


def test_without_verification_only_the_plan_is_checked(path: Path, parts: tuple[dict[str, Any], bytes]) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    assert load_engine(bytes(data), verify=False).name == "n"


@pytest.mark.parametrize("length", [0, 1, 63, 64, 200, 4000, -1])
def test_cut_files(path: Path, length: int) -> None:
    refusal(path.read_bytes()[:length])


@pytest.mark.parametrize("data", [b"PK\3\4", b"\x80\x04\x95", b"trtn 1\n", bytes(100)])
def test_other_files(data: bytes) -> None:
    assert "is no engine file" in refusal(data)


def test_another_format_version() -> None:
    assert "format version 4294967295" in refusal(b"TRTNENG\0" + b"\xff" * 200, "E0704")


# a plan that somebody has changed, with every hash made anew


def steps(header: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = header["engine"]["steps"]
    return found


def layer(header: dict[str, Any], op: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for step in steps(header) for row in step["layers"] if row["op"] == op)
    return found


def shape_of(header: dict[str, Any], name: str) -> list[Any]:
    found: list[Any] = next(row[2] for row in header["engine"]["values"] if row[0] == name)
    return found


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "an op that is not there": (lambda h: layer(h, "nonzero").update(op="system"), "no op `system`"),
    "an op of another kind": (lambda h: layer(h, "fill").update(op="relu"), "malformed|takes 1|has no attribute"),
    "an attribute of another kind": (lambda h: layer(h, "fill")["attrs"].update(value="x"), "takes float"),
    "an attribute out of range": (lambda h: layer(h, "scan")["attrs"].update(axes=[7]), "axes"),
    "an attribute that is not there": (lambda h: layer(h, "fill")["attrs"].update(path="/etc"), "no attribute `path`"),
    "a smaller result": (lambda h: shape_of(h, "h").__setitem__(1, 2), "where it is f32"),
    "a larger result": (lambda h: shape_of(h, "h").__setitem__(1, 2**40), "where it is f32"),
    "a result of another dtype": (
        lambda h: h["engine"]["values"][h["engine"]["outputs"][0]].__setitem__(1, "f64"),
        "where it is f32",
    ),
    "a result of an unknown dim": (lambda h: shape_of(h, "h").__setitem__(0, "Z"), "no dim `Z`"),
    "a negative result": (lambda h: shape_of(h, "h").__setitem__(0, "N - 9"), "where it is"),
    "a body that takes another type": (
        lambda h: layer(h, "loop")["regions"][0]["inputs"].reverse(),
        "where it is|can't be",
    ),
    "a body without inputs": (
        lambda h: layer(h, "loop")["regions"][0].update(inputs=[]),
        "before it is made|values here",
    ),
    "a body too many": (lambda h: layer(h, "if")["regions"].append(layer(h, "if")["regions"][0]), "bodies|made twice"),
    "a read before the write": (lambda h: steps(h).reverse(), "before it is made"),
    "a value made twice": (lambda h: steps(h).append(steps(h)[0]), "made twice"),
    "a step that is no view": (lambda h: steps(h)[0].update(kind="view"), "no view"),
    "an empty step": (lambda h: steps(h).append({**steps(h)[0], "layers": []}), "without layers"),
    "weights out of the section": (lambda h: h["weights"][0].__setitem__(2, 2**40), "outside of its section"),
    "weights at a negative place": (lambda h: h["weights"][0].__setitem__(2, -64), "outside of its section"),
    "weights of another shape": (lambda h: h["weights"][0].__setitem__(1, [1]), "another type|no such order"),
    "weights of a negative shape": (lambda h: h["weights"][0].__setitem__(1, [-1, -24]), "no proper shape"),
    "weights of no dtype": (lambda h: h["weights"][0].__setitem__(0, ["f32"]), "not text"),
    "known weights that are floats": (
        lambda h: h["engine"]["known"].append(h["engine"]["weights"][0][0]),
        "no list of sizes",
    ),
    "a dim that nothing decides": (lambda h: h["engine"]["dims"].update(Q=[1, 4, 1]), "do not decide every dim"),
    "a dim of impossible range": (lambda h: h["engine"]["dims"].update(N=[4, 2, 1]), "no such range"),
    "a dim of step 0": (lambda h: h["engine"]["dims"].update(N=[1, 16, 0]), "step"),
    "a profile of other dims": (lambda h: h["engine"]["profiles"][0]["dims"].pop("N"), "other dims"),
    "a profile upside down": (
        lambda h: h["engine"]["profiles"][0]["dims"].update(N=[4, 2, 1]),
        "no range of a profile",
    ),
    "a profile for no input": (lambda h: h["engine"]["profiles"][0]["values"].update(q=[[1, 1, 1]]), "no input"),
    "two inputs of one name": (
        lambda h: h["engine"]["values"][h["engine"]["inputs"][0]].__setitem__(0, "m"),
        "two inputs",
    ),
    "two outputs of one name": (lambda h: h["engine"].update(outputs=h["engine"]["outputs"][:1] * 2), "two outputs"),
    "an assert over an unknown dim": (lambda h: h["engine"]["asserts"].append(["<", "Z", 4, ""]), "no dim `Z`"),
    "a relation of its own": (lambda h: h["engine"]["asserts"].append(["is", "N", 4, ""]), "relate"),
    "no plan": (lambda h: h.pop("engine"), "engine"),
    "no weights": (lambda h: h.pop("weights"), "weights"),
    "no provenance": (lambda h: h.pop("provenance"), "provenance"),
    "a plan that is a list": (lambda h: h.update(engine=[]), "not an object"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_plans(change: str, parts: tuple[dict[str, Any], bytes], tmp_path: Path) -> None:
    edit, words = CHANGES[change]
    header = json.loads(json.dumps(parts[0]))
    edit(header)
    forge(tmp_path / "bad.engine", header, parts[1])
    with pytest.raises(EngineError, match=words) as caught:
        load_engine(tmp_path / "bad.engine")
    assert "section `header` is damaged" in str(caught.value)


def forged_tactic(parts: tuple[dict[str, Any], bytes], tactic: list[Any], path: Path) -> Engine:
    """The engine with another tactic for all of its steps."""
    header = json.loads(json.dumps(parts[0]))
    header["engine"]["tactics"] = [tactic] * len(header["engine"]["tactics"])
    forge(path, header, parts[1])
    return load_engine(path)


def test_a_provider_that_is_not_there(parts: tuple[dict[str, Any], bytes], tmp_path: Path) -> None:
    """Such an engine can be looked at, but does not run."""
    engine = forged_tactic(parts, ["os.system", "eval"], tmp_path / "bad.engine")
    with pytest.raises(EngineError, match="does not have it"):
        engine.run(FEEDS)


def test_a_tactic_that_is_not_there(parts: tuple[dict[str, Any], bytes], tmp_path: Path) -> None:
    """The provider's other tactics, and in the end the reference, run what it was meant for."""
    reference = reference_provider().name
    good = forged_tactic(parts, [reference, "eval"], tmp_path / "good.engine")
    engine = forged_tactic(parts, [reference, "os.system"], tmp_path / "bad.engine")
    assert_same(engine.run(FEEDS), good.run(FEEDS))
    assert not good.kernels.fallbacks
    assert engine.kernels.fallbacks
    assert all("os.system" in why for why in engine.kernels.fallbacks.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row.update(points=[]), "0 tuned points"),
        (lambda row: row["points"][0].update(sizes={}), "other dims"),
        (lambda row: row["points"][0]["choices"].pop(), "not a list of"),
        (lambda row: row["points"][0]["choices"].__setitem__(0, 10**6), "no tactic"),
        (lambda row: row["points"][0]["choices"].__setitem__(0, -1), "no tactic"),
        (lambda row: row["points"][0]["choices"].__setitem__(0, True), "not an integer"),
        (lambda row: row["tactics"].__setitem__(0, ["reference"]), "not a list of 2"),
        (lambda row: row["tactics"].__setitem__(0, ["reference", 1]), "not text"),
        (lambda row: row["points"][0]["sizes"].update(M="2"), "not an integer"),
        (lambda row: row.pop("points"), "points"),
    ],
)
def test_malformed_choices_are_refused(
    parts: tuple[dict[str, Any], bytes], tmp_path: Path, change: Any, words: str
) -> None:
    header = json.loads(json.dumps(parts[0]))
    change(header["engine"])
    forge(tmp_path / "bad.engine", header, parts[1])
    with pytest.raises(EngineError, match=words):
        load_engine(tmp_path / "bad.engine")


def test_guards_that_somebody_took_out_come_back(tmp_path: Path) -> None:
    """Inference asks for them again."""
    size = "min((N*M - 988027)*(N*M - 988027) - 1, 3)"
    net = network(
        "network n { dim N in 1..1000 dim M in 1..1000 input x: f32[N] input m: f32[M]"
        f" output y: f32[{size}] y = fill(shape=[{size}]) }}"
    )
    assert len(net.guards) == 1
    build(net).save(tmp_path / "n.engine")
    container = read_container(tmp_path / "n.engine")
    assert len(container.header["engine"]["guards"]) == 1
    container.header["engine"]["guards"] = []
    forge(tmp_path / "n.engine", container.header, b"")
    engine = load_engine(tmp_path / "n.engine")
    assert engine.run({"x": np.zeros(997, np.float32), "m": np.zeros(990, np.float32)})["y"].shape == (3,)
    with pytest.raises(ShapeError, match="negative"):
        engine.run({"x": np.zeros(997, np.float32), "m": np.zeros(991, np.float32)})


def test_a_changed_plan_that_is_a_plan(parts: tuple[dict[str, Any], bytes], tmp_path: Path) -> None:
    """Other asserts and profiles make another engine. It holds its callers to the dims' ranges all the same."""
    header = json.loads(json.dumps(parts[0]))
    header["engine"]["asserts"] = []
    for profile in header["engine"]["profiles"]:
        profile["dims"].update(N=[1, 1, 16], M=[1, 1, 8])
    forge(tmp_path / "other.engine", header, parts[1])
    engine = load_engine(tmp_path / "other.engine")
    engine.run(FEEDS)
    with pytest.raises(ShapeError):
        engine.run({**FEEDS, "x": np.zeros((17, 6), np.float32)})
