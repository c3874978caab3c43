"""The whole road for every model: ONNX -> spec, canonical and stable -> check -> engine -> ONNX Runtime's outputs; and
ONNX -> spec -> ONNX. With repeated structure as blocks, and (`flat`) one statement a node: that one in full runs only.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import trtn
from tests.conformance.round_trip import distance
from tests.corpus.models import Model, models
from trtn.cli.rounding import rounding_floor
from trtn.dsl.diagnostics import Source
from trtn.dsl.network import Network
from trtn.dsl.syntax import format_source

FORMS = ("structured", "flat") if os.environ.get("TRTN_FULL_TESTS") else ("structured",)
ROUND_TRIP = 1e-5
"""Of ||a - b|| / ||b||, between ONNX Runtime's outputs of the first model and of the one that came back."""

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.parametrize("form", FORMS),
    pytest.mark.parametrize("model", models(), ids=lambda m: m.name),
]


@pytest.fixture
def path(model: Model) -> Path:
    try:
        return model.path()
    except (OSError, subprocess.CalledProcessError) as e:
        pytest.skip(f"can't be fetched here: {e}")


def reference(
    model: Path | bytes, feeds: Mapping[str, Any], *, saturating: bool = True
) -> dict[str, np.ndarray[Any, Any]]:
    """ONNX Runtime's outputs by name.

    On processors without VNNI instructions its products of u8 and i8 saturate at 16 bits, unless it is told to turn i8
    into u8.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "0" if saturating else "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def differences(
    network: Network, found: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float
) -> dict[str, float]:
    """The relative errors that are above the tolerance, and in some element more than rounding, by output."""
    assert list(found) == list(expected)
    errors = {name: distance(found[name], theirs) for name, theirs in expected.items()}
    floor = rounding_floor(network)
    return {
        t.name: errors[t.name]
        for t in network.outputs
        if errors[t.name] > tolerance and largest_difference(found[t.name], expected[t.name]) > floor(t)
    }


def largest_difference(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> float:
    """max |ours - theirs|; infinite where one of them is not finite, or where they can't be compared."""
    if ours.shape != theirs.shape or not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return float("inf")
    return float(np.abs(ours.astype(np.float64) - theirs).max(initial=0.0))


def test_from_onnx_to_outputs(model: Model, form: str, path: Path, tmp_path: Path) -> None:
    flat = form == "flat"
    network = trtn.import_onnx(path, recognise=not flat)

    spec = tmp_path / "model.trtn"
    trtn.save(network, spec, flat=flat)
    text = spec.read_text()
    assert format_source(Source("model.trtn", text)) == text, "the text is not canonical"
    loaded = trtn.load(spec)
    again = tmp_path / "again" / "model.trtn"
    again.parent.mkdir()
    trtn.save(loaded, again, flat=flat)
    assert again.read_text() == text, "text -> network -> text differs"

    feeds = model.feeds()
    outputs = trtn.build(network, device="cpu").run(feeds)
    from_text = trtn.build(loaded, device="cpu").run(feeds)
    for name, output in outputs.items():
        np.testing.assert_array_equal(from_text[name], output)
    assert not differences(network, outputs, reference(path, feeds, saturating=False), model.rel_tol)


def test_from_onnx_to_onnx(model: Model, form: str, path: Path, tmp_path: Path) -> None:
    flat = form == "flat"
    spec = tmp_path / "model.trtn"
    trtn.save(trtn.import_onnx(path, recognise=not flat), spec, flat=flat)
    network = trtn.load(spec)
    exported = trtn.export_onnx(network)
    onnx.checker.check_model(exported, full_check=True)
    feeds = model.feeds()
    assert not differences(network, reference(exported.SerializeToString(), feeds), reference(path, feeds), ROUND_TRIP)
