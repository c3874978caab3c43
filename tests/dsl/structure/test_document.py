"""Structured texts: what they look like, that they load as what they are, print the same again, and change little."""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto

import trtn
from tests.dsl.convert.models import check, ort
from tests.dsl.structure.exports import bottlenecks, cached_decoder, dense_net, encoder, residual_net, stacked_heads
from tests.interpreter import evaluate_network
from trtn.dsl.builder import Builder
from trtn.dsl.diagnostics import Source
from trtn.dsl.dims import Range, symbol
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.load import load_text
from trtn.dsl.network import Network
from trtn.dsl.printer import print_network
from trtn.dsl.structure import document, print_structured, structured_document
from trtn.dsl.syntax import format_source

RANDOM = np.random.default_rng(3)
MODELS = {
    "encoder": (encoder(6), {"ids": RANDOM.integers(0, 20, (3, 5)), "attention_mask": np.tri(3, 5, 1, dtype=np.int64)}),
    "made up": (encoder(4, made_up=True, masked=False), {"ids": RANDOM.integers(0, 20, (2, 5))}),
    "stacked": (stacked_heads(), {"x": RANDOM.standard_normal((2, 5, 8)).astype(np.float32)}),
    "residual": (residual_net(), {"image": RANDOM.standard_normal((2, 3, 32, 32)).astype(np.float32)}),
    "dense": (dense_net(6), {"image": RANDOM.standard_normal((2, 3, 8, 8)).astype(np.float32)}),
    "bottlenecks": (bottlenecks(), {"image": RANDOM.standard_normal((2, 3, 32, 32)).astype(np.float32)}),
    "cached": (cached_decoder(4), {"x": RANDOM.standard_normal((2, 5, 8)).astype(np.float32)}),
}


def text_of(proto: ModelProto) -> str:
    return trtn.import_onnx(proto, name="net").to_text()


def body(text: str) -> list[str]:
    """The statements of the network."""
    return text.partition("network ")[2].partition("\n\n")[2].splitlines()[:-1]


def blocks(text: str) -> list[str]:
    return [line.split("(")[0].removeprefix("block ") for line in text.splitlines() if line.startswith("block ")]


@pytest.mark.parametrize("name", MODELS)
def test_a_text_computes_what_the_model_does(name: str, tmp_path: Path) -> None:
    proto, feeds = MODELS[name]
    network = check(proto, feeds, rtol=1e-4, name="net")
    text = network.to_text()
    assert format_source(Source("-", text)) == text
    trtn.save(network, tmp_path / "net.trtn")
    assert (tmp_path / "net.trtn").read_text() == text
    again = trtn.load(tmp_path / "net.trtn")
    assert again.to_text() == text
    for output, array in evaluate_network(network, feeds).items():
        np.testing.assert_array_equal(evaluate_network(again, feeds)[output], array, err_msg=output)


@pytest.mark.parametrize("name", MODELS)
def test_a_flat_text_does_too(name: str, tmp_path: Path) -> None:
    proto, feeds = MODELS[name]
    network = trtn.import_onnx(proto, name="net", recognise=False)
    trtn.save(network, tmp_path / "net.trtn", flat=True)
    assert blocks((tmp_path / "net.trtn").read_text()) == []
    for output, array in ort(proto, feeds).items():
        found = evaluate_network(trtn.load(tmp_path / "net.trtn"), feeds)[output]
        np.testing.assert_allclose(found, array, rtol=1e-4, atol=1e-6)


def test_layers_become_a_repeat() -> None:
    text = text_of(MODELS["encoder"][0])
    assert (
        text
        == """\
trtn 1
weights w = "net.weights.trtn"

block encoder_layer(
  x: f32[batch, 5, 8],
  mask: f32[batch, 1, 1, 5],
  *,
  p: weights,
) -> f32[batch, 5, 8] {
  query = linear(x, p.self.query.weight, p.self.query.bias)
  q = transpose(reshape(query, shape=[batch, 5, 2, 4]), perm=[0, 2, 1, 3])
  key = linear(x, p.self.key.weight, p.self.key.bias)
  k = transpose(reshape(key, shape=[batch, 5, 2, 4]), perm=[0, 2, 1, 3])
  value = linear(x, p.self.value.weight, p.self.value.bias)
  v = transpose(reshape(value, shape=[batch, 5, 2, 4]), perm=[0, 2, 1, 3])
  attention = reshape(transpose(attention(q, k, v, mask), perm=[0, 2, 1, 3]), shape=[batch, 5, 8])
  output_add = linear(attention, p.output.weight, p.output.bias) + x
  output_norm = layer_norm(output_add, p.output.norm.weight, p.output.norm.bias)
  fc1 = gelu(linear(output_norm, p.fc1.weight, p.fc1.bias))
  fc2_add = linear(fc1, p.fc2.weight, p.fc2.bias) + output_norm
  return layer_norm(fc2_add, p.norm.weight, p.norm.bias)
}

network net {
  dim batch in 1..4096
  input ids: i64[batch, 5]
  input attention_mask: i64[batch, 5]
  output scores: f32[batch, 5, 3]

  mask = where(unsqueeze(cast(attention_mask, to=bool), axes=[1, 2]), 0.0, -3.4028235e38)
  val_2 = embedding(ids, w.embeddings.word.weight)
  x = layer_norm(val_2, w.embeddings.norm.weight, w.embeddings.norm.bias)
  repeat i in 0..6 carry x as layer {
    x = encoder_layer(x, mask, p=w.encoder.layer[i])
  }
  scores = tanh(linear(x, w.head.weight, w.head.bias))
}
"""
    )


def test_blocks_with_parameters() -> None:
    text = text_of(MODELS["residual"][0])
    assert blocks(text) == ["projection", "residual"]
    assert "block projection(x: f32[batch, C, H, W], *, p: weights, stride: int) -> f32[batch, O, OH, OH] {" in text
    assert "block residual(x: f32[batch, C, H, W], *, p: weights) -> f32[batch, C, H, W] {" in text
    assert body(text)[1:9] == [
        "  layer1 = projection(val_1, p=w.layer1[0], stride=1) : f32[batch, 16, 16, 16]",
        "  repeat i in 1..3 carry layer1 as layer1 {",
        "    layer1 = residual(layer1, p=w.layer1[i])",
        "  }",
        "  layer2 = projection(layer1, p=w.layer2[0], stride=2) : f32[batch, 32, 8, 8]",
        "  repeat i in 1..3 carry layer2 as layer2 {",
        "    layer2 = residual(layer2, p=w.layer2[i])",
        "  }",
    ]


def test_layers_that_read_all_before_them_are_a_repeat() -> None:
    text = text_of(MODELS["dense"][0])
    assert "concat(x, conv2, axis=1)" in text
    assert body(text) == [
        "  x = conv(image, w.stem.weight, w.stem.bias)",
        "  repeat i in 0..6 carry x as layers {",
        "    x = convolutions(x, p=w.layers[i])",
        "  }",
        "  y = x",
    ]


def test_a_block_is_a_whole_module() -> None:
    text = text_of(MODELS["bottlenecks"][0])
    assert text.count("p.up.weight") == 2
    assert blocks(text) == ["convolutions", "residual"] and text.count("repeat i in 1..4 carry") == 3


def test_made_up_names_give_way_to_what_the_weights_are() -> None:
    text = text_of(MODELS["made up"][0])
    assert "onnx" not in text and "p=w.encoder.layer[i]" in text


def test_layers_with_results_of_their_own_are_calls() -> None:
    assert body(text_of(MODELS["cached"][0])) == [
        "  `present.0.key`, `present.0.value`, layers_0 = transformer_layer(x, p=w.layers[0])",
        "  `present.1.key`, `present.1.value`, layers_1 = transformer_layer(layers_0, p=w.layers[1])",
        "  `present.2.key`, `present.2.value`, layers_2 = transformer_layer(layers_1, p=w.layers[2])",
        "  `present.3.key`, `present.3.value`, y = transformer_layer(layers_2, p=w.layers[3])",
    ]


@pytest.mark.parametrize("place", [0, 2, 5])
def test_an_inserted_layer_changes_the_lines_around_it_only(place: int) -> None:
    before, after = text_of(encoder(6)).splitlines(), text_of(encoder(6, inserted=place)).splitlines()
    changed = [
        n
        for tag, a, b, *_ in difflib.SequenceMatcher(None, before, after).get_opcodes()
        if tag != "equal"
        for n in (a, b)
    ]
    start = next(n for n, line in enumerate(before) if line.strip().startswith("repeat"))
    assert changed, "nothing has changed"
    # The repeat is cut in two; what reads its result stands right below it.
    assert min(changed) >= start - 1 and max(changed) <= start + 4


def test_a_text_that_is_not_the_same_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    network = trtn.import_onnx(encoder(3), name="net")
    monkeypatch.setattr(document, "loads_as", lambda *_: None)
    assert print_structured(network) == print_network(network)


def test_weights_are_under_the_paths_of_the_text() -> None:
    made = structured_document(trtn.import_onnx(encoder(3), name="net"))
    assert "encoder.layer[2].self.query.weight" in made.weights
    original = trtn.import_onnx(encoder(3), name="net").weights
    assert len(made.weights) == len({id(t.weight) for t in original if t.weight is not None and t.weight.name})


def test_words_that_are_literals_among_names() -> None:
    text = "trtn 1\n\nnetwork net {\n  input x: bool[2]\n  output y: bool[2]\n\n  y = and(true, x)\n}\n"
    network = load_text(text)
    assert print_network(network) == text and network.layers[0].inputs[0] is not None


def small(*, read_again: bool) -> Network:
    """Equal runs of layers; with `read_again` the first one's input is read once more at the end."""
    random = np.random.default_rng(3)
    b = Builder("net", dims={"N": Range(1, 8)})
    x = b.input("x", BY_NAME["f32"], (symbol("N"), 20))
    h = start = b.layer("relu", x, name="start")[0]
    for n in range(5):
        for part in ("up", "mid", "down"):
            weight = b.constant(random.standard_normal((20, 20)).astype(np.float32), f"blocks[{n}].{part}.weight")
            h = b.layer("tanh", b.layer("linear", h, weight, name=f"{part}{n}")[0], name=f"t{part}{n}")[0]
    if read_again:
        h = b.layer("add", h, start, name="end")[0]
    return b.finish([("y", h)])


def test_a_start_that_is_read_again_keeps_its_name(tmp_path: Path) -> None:
    text = small(read_again=True).to_text()
    assert "  x_2 = start\n  repeat i in 0..5 carry x_2 as blocks {\n" in text
    assert "  y = x_2 + start\n" in text
    trtn.save(small(read_again=True), tmp_path / "net.trtn")
    assert trtn.load(tmp_path / "net.trtn").to_text() == text


def test_a_repeat_that_ends_in_an_output() -> None:
    assert "  }\n  y = x_2\n}\n" in small(read_again=False).to_text()
