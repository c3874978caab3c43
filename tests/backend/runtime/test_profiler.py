"""Times of an engine's steps: every step that runs has one, they go to a file and back, and a file that is none is
refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.backend.harness import Feeds, floats, network
from trtn.backend.build import build
from trtn.backend.runtime.profiler import profile_steps, read_profile
from trtn.dsl.errors import EngineError

TEXT = """
network n {
  dim N in 1..8
  input x: f32[N, 4]
  output y: f32[N, 4]
  output found: i64[2, K]
  a = softmax(x, axis=1)
  b = softmax(transpose(a) @ a, axis=1)
  y = softmax(a @ b, axis=1)
  found = nonzero(a > 0.3) : i64[2, K in 0..4*N]
}
"""
FEEDS: Feeds = {"x": floats(3, 4)}


def test_each_step_that_runs_is_timed(tmp_path: Path) -> None:
    engine = build(network(TEXT), device="cpu")
    found = profile_steps(engine, FEEDS, runs=3)
    running = {g.name for g in engine.groups if g.kind != "view"}
    assert running <= found.steps.keys() <= {g.name for g in engine.groups}
    assert all(ms > 0 for ms in found.steps.values())
    assert found.total == sum(found.steps.values())
    assert (found.engine, found.device, found.runs) == ("n", "cpu", 3)
    assert found.sizes == {"N": 3}
    assert found.network == engine.provenance["network"]
    path = tmp_path / "times.json"
    path.write_text(found.to_json())
    assert read_profile(path) == found


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format_version": "9.0"}', '{"format_version": "1.0", "steps": 3}', "\x00", "nan"],
)
def test_what_is_no_profile(tmp_path: Path, text: str) -> None:
    path = tmp_path / "times.json"
    path.write_text(text)
    with pytest.raises(EngineError, match="is not a profile"):
        read_profile(path)


def test_a_profile_with_fields_of_another_kind(tmp_path: Path) -> None:
    good = json.loads(profile_steps(build(network(TEXT), device="cpu"), FEEDS, runs=1).to_json())
    for field, value in (("steps", {"y": "fast"}), ("steps", []), ("runs", "x"), ("sizes", {"N": None}), ("more", 1)):
        (tmp_path / "times.json").write_text(json.dumps({**good, field: value}))
        with pytest.raises(EngineError, match="is not a profile"):
            read_profile(tmp_path / "times.json")
    with pytest.raises(EngineError, match="No such file"):
        read_profile(tmp_path / "none.json")
