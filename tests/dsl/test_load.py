"""From files to networks: imports, manifests, `load` and `load_text`, and the sample of the design document."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.dsl.checking import OUT, accepted, check, codes, layer_names, rejected, spec
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.errors import SpecError
from trtn.dsl.load import load, load_text
from trtn.dsl.network import ProfileRange

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return to


def failure(call: Callable[[], object]) -> tuple[Diagnostic, ...]:
    with pytest.raises(SpecError) as caught:
        call()
    assert caught.value.diagnostics
    assert str(caught.value).startswith(str(caught.value.diagnostics[0]))
    return caught.value.diagnostics


# --- the sample of DESIGN.md, section 4 -----------------------------------------------------------------------------

BERT = """\
trtn 1                                      # edition, first line, required
import "ops/attention.trtn" as attn
weights w = "bert-base.weights.trtn"        # a manifest, never bytes

block ffn(x: T[B, S, D], *, p: weights, hidden: int, act: str = "gelu") -> T[B, S, D] {
  h = linear(x, p.fc1.weight, p.fc1.bias) : T[B, S, hidden]     # the type is optional; where written it is checked
  return linear(activation(h, kind=act), p.fc2.weight, p.fc2.bias)
}

network bert_base {
  doc "BERT-base encoder, mean pooled."
  dim B in 1..64
  dim S in 8..512 step 8
  let D = 768
  assert B * S <= 32768, "token budget of the serving tier"
  input  ids:    i32[B, S]
  input  mask:   bool[B, S]
  output pooled: f32[B, D]

  x = embedding(ids, w.embeddings.word.weight) : f16[B, S, D]
  repeat i in 0..12 carry x {
    x = attn.encoder_layer(x, mask, p=w.encoder.layer[i], heads=12)
  }
  last = ffn(x, p=w.encoder.layer[11].ffn, hidden=3072)
  @precision(f32)
  pooled = masked_mean(cast(last, to=f32), mask, axis=1)
}

profile bulk for bert_base {
  B: min 8,  opt 32,  max 64
  S: min 64, opt 256, max 512
}

target h200 {
  network   bert_base
  profiles  [bulk]
  device    cuda:sm_90
  precision { default f16  keep f32 for [softmax, layer_norm] }
  workspace 4GiB
  lock      "locks/bert_base.h200.lock"
  output    "build/bert_base.h200.engine"
}
"""
ATTENTION = """\
trtn 1

block split_heads(x: T[B, S, D], *, heads: int) -> T[B, heads, S, D // heads] {
  return transpose(reshape(x, shape=[B, S, heads, D // heads]), perm=[0, 2, 1, 3])
}

block self_attention(x: T[B, S, D], mask: bool[B, S], *, p: weights, heads: int) -> T[B, S, D] {
  q = split_heads(linear(x, p.q.weight, p.q.bias), heads=heads)
  k = split_heads(linear(x, p.k.weight, p.k.bias), heads=heads)
  v = split_heads(linear(x, p.v.weight, p.v.bias), heads=heads)
  scores = q @ transpose(k, perm=[0, 1, 3, 2]) / sqrt(D // heads) : T[B, heads, S, S]
  kept = where(unsqueeze(mask, axes=[1, 2]), scores, -10000.0)
  context = reshape(transpose(softmax(kept) @ v, perm=[0, 2, 1, 3]), shape=[B, S, D])
  return linear(context, p.out.weight, p.out.bias)
}

block encoder_layer(x: T[B, S, D], mask: bool[B, S], *, p: weights, heads: int) -> T[B, S, D] {
  a = layer_norm(x + self_attention(x, mask, p=p.attention, heads=heads), p.ln1.weight, p.ln1.bias)
  h = gelu(linear(a, p.ffn.fc1.weight, p.ffn.fc1.bias))
  return layer_norm(a + linear(h, p.ffn.fc2.weight, p.ffn.fc2.bias), p.ln2.weight, p.ln2.bias)
}
"""


def bert_manifest(source: str = "normal(1, 0.02)") -> str:
    rows = ["embeddings.word.weight: f16[30522, 768]"]
    for i in range(12):
        layer = f"encoder.layer[{i}]"
        for name in ("q", "k", "v", "out"):
            rows += [f"{layer}.attention.{name}.weight: f16[768, 768]", f"{layer}.attention.{name}.bias: f16[768]"]
        rows += [f"{layer}.ffn.fc1.weight: f16[768, 3072]", f"{layer}.ffn.fc1.bias: f16[3072]"]
        rows += [f"{layer}.ffn.fc2.weight: f16[3072, 768]", f"{layer}.ffn.fc2.bias: f16[768]"]
        rows += [f"{layer}.ln{n}.{part}: f16[768]" for n in (1, 2) for part in ("weight", "bias")]
    lines = [f"  tensor {row} = {source}" for row in rows]
    return "\n".join(
        ["trtn 1", "manifest bert_base {", '  file f0 = "missing.npz"' * ("f0" in source), *lines, "}", ""]
    )


def test_the_sample_of_the_design_is_right(write: Write) -> None:
    write("ops/attention.trtn", ATTENTION)
    write("bert-base.weights.trtn", bert_manifest())
    path = write("bert.trtn", BERT)
    (network,), (warning,) = check(path.read_text(encoding="utf-8"), path)
    assert warning.code == "W0402", "64 * 512 is the budget: its assert excludes nothing"
    assert (network.name, network.doc) == ("bert_base", "BERT-base encoder, mean pooled.")
    assert [str(t.type) for t in network.inputs] == ["i32[B, S]", "bool[B, S]"]
    assert [str(t.type) for t in network.outputs] == ["f32[B, 768]"]
    assert sum(t.name != "" for t in network.weights) == 1 + 12 * 16
    assert not network.guards
    assert network.profiles[0].dims["S"] == ProfileRange(64, 256, 512)
    (target,) = network.targets
    assert (target.device, target.profiles, target.workspace) == ("cuda:sm_90", ("bulk",), 4 << 30)
    assert target.precision.default is BY_NAME["f16"]
    assert set(target.precision.keep) == {"softmax", "layer_norm"}
    assert network.layers[-1].origin.precision is BY_NAME["f32"]


def test_no_weight_file_is_read(write: Write) -> None:
    """What a manifest says is enough: its files need not be there."""
    write("ops/attention.trtn", ATTENTION)
    write("bert-base.weights.trtn", bert_manifest('f0["x"]'))
    path = write("bert.trtn", BERT)
    assert load(path).weights[0].shape == (30522, 768)


def test_a_weight_of_the_wrong_shape_is_found_in_the_manifest(write: Write) -> None:
    write("ops/attention.trtn", ATTENTION)
    manifest = bert_manifest()
    manifest = manifest.replace("layer[7].ffn.fc2.weight: f16[3072, 768]", "layer[7].ffn.fc2.weight: f16[768, 768]")
    line = manifest.splitlines().index("  tensor encoder.layer[7].ffn.fc2.weight: f16[768, 768] = normal(1, 0.02)") + 1
    write("bert-base.weights.trtn", manifest)
    path = write("bert.trtn", BERT)
    found, _ = check(path.read_text(encoding="utf-8"), path)[1]
    assert (found.code, found.message) == ("E0312", "inner dims of `linear` differ: 3072 and 768")
    assert any(label.text.endswith(f"bert-base.weights.trtn:{line}") for label in found.labels)
    assert any("`x[7]`, expanded from" in note for note in found.notes)


# --- load -----------------------------------------------------------------------------------------------------------

TWO = spec(
    f"{OUT} y = relu(x)", after=spec(f"{OUT} y = exp(x)").replace("trtn 1", "").replace("network m", "network other")
)


def test_load_text() -> None:
    assert layer_names(load_text(spec(f"{OUT} y = relu(x)"))) == ["y"]
    (found,) = failure(lambda: load_text(spec(f"{OUT} y = rleu(x)")))
    assert (found.code, str(found.span).split(":")[0]) == ("E0203", "-")


def test_one_network_of_several() -> None:
    assert load_text(TWO, network="other").layers[0].op.name == "exp"
    (found,) = failure(lambda: load_text(TWO))
    assert (found.code, found.message) == ("E0215", "the file has 2 networks: m, other")
    (found,) = failure(lambda: load_text(TWO, network="othr"))
    assert (found.code, found.help) == ("E0215", "did you mean `other`?")


def test_the_others_may_have_errors() -> None:
    text = TWO.replace("exp(x)", "expp(x)")
    assert load_text(text, network="m").name == "m"
    networks, found = check(text)
    assert [n.name for n in networks] == ["m"]
    assert [d.code for d in found] == ["E0203"]


def test_files_without_a_network(write: Write) -> None:
    (found,) = failure(lambda: load_text("trtn 1\n"))
    assert (found.code, found.message) == ("E0215", "the file has no network")
    path = write("m.weights.trtn", "trtn 1\nmanifest m {\n}\n")
    (found,) = failure(lambda: load(path))
    assert found.message == "the file is a weight manifest, which has no network"
    (found,) = failure(lambda: load(path.parent / "nowhere.trtn"))
    assert found.code == "E0108"


def test_a_network_of_a_text_with_errors_is_not_given() -> None:
    networks, found = check(spec(f"{OUT} a = = x\n y = relu(x)"))
    assert not networks
    assert [d.code for d in found] == ["E0101"]


# --- imports --------------------------------------------------------------------------------------------------------

TWICE = "trtn 1\nblock twice(x: T[N, D]) -> T[N, D] {\n h = x * 2\n return h\n}\n"


def test_a_diamond_of_imports(write: Write) -> None:
    write("base.trtn", TWICE)
    for name in ("left", "right"):
        block = f"block {name}(x: T[N, D]) -> T[N, D] {{\n return b.twice(x)\n}}\n"
        write(f"parts/{name}.trtn", f'trtn 1\nimport "../base.trtn" as b\n{block}')
    imports = 'import "parts/left.trtn" as l\nimport "parts/right.trtn" as r\nimport "base.trtn" as b'
    path = write("m.trtn", spec(f"{OUT} y = l.left(x) + r.right(x) + b.twice(x)", before=imports))
    network = load(path)
    assert layer_names(network) == ["y.left.h", "y.right.h", "y.add", "y.twice.h", "y"]


def test_imports_name_blocks_by_alias(write: Write) -> None:
    write("base.trtn", TWICE)
    before = 'import "base.trtn" as b'
    path = write("m.trtn", "")
    found = rejected(spec(f"{OUT} y = b.twce(x)", before=before), path)
    assert (found.code, found.help) == ("E0203", "did you mean `twice`?")
    assert rejected(spec(f"{OUT} y = c.twice(x)", before=before), path).code == "E0203"
    assert rejected(spec(f"{OUT} y = twice(x)", before=before), path).code == "E0203"
    assert rejected(spec(f"{OUT} y = x", before=f"{before}\n{before}"), path).code == "E0202"


def test_imports_that_fail(write: Write) -> None:
    write("a.trtn", 'trtn 1\nimport "b.trtn" as b\n')
    write("b.trtn", 'trtn 1\nimport "a.trtn" as a\n')
    write("bad.trtn", TWICE.replace("h = x * 2", "h = x * * 2"))
    path = write("spec/m.trtn", "")
    use = f"{OUT} y = q.twice(x)"
    assert rejected(spec(use, before='import "../a.trtn" as q'), path).code == "E0209"
    found = rejected(spec(f"{OUT} y = x", before='import "a.trtn" as q'), path.parent.parent / "m.trtn")
    assert (found.code, found.message) == ("E0206", "imports run in a circle: a.trtn -> b.trtn -> a.trtn")
    found = rejected(spec(use, before='import "bad.trtn" as q'), path.parent.parent / "m.trtn")
    assert (found.code, found.span and found.span.source.path.endswith("bad.trtn")) == ("E0101", True)
    assert rejected(spec(use, before='import "" as q'), path).code == "E0205"


def test_a_mistake_in_an_imported_block_is_shown_there(write: Write) -> None:
    write("base.trtn", TWICE.replace("x * 2", "x @ x"))
    path = write("m.trtn", "")
    found = rejected(spec(f"{OUT} y = b.twice(x)", before='import "base.trtn" as b'), path)
    assert found.code == "E0312"
    assert found.span is not None and (Path(found.span.source.path).name, found.span.line) == ("base.trtn", 3)
    assert "in layer `y`" in found.notes


# --- manifests ------------------------------------------------------------------------------------------------------


def test_weights_by_path(write: Write) -> None:
    rows = ["a.w: f32[4] = ones()", "b[0].w: f32[4] = ones()", "b[1].w: f32[4] = ones()"]
    write("m.weights.trtn", "trtn 1\nmanifest m {\n" + "".join(f"tensor {r}\n" for r in rows) + "}\n")
    path = write("m.trtn", "")
    before = 'weights w = "m.weights.trtn"'
    body = "z = x * w.a.w\n repeat i in 0..2 carry z {\n z = z + w.b[i].w\n }\n y = z"
    network = accepted(spec(OUT + body, before=before), path)
    assert [t.name for t in network.weights] == ["a.w", "b[0].w", "b[1].w"]
    found = rejected(spec(f"{OUT} y = x + w.b[2].w", before=before), path)
    assert found.code == "E0501"
    found = rejected(spec(f"{OUT} y = x + w.b[0]", before=before), path)
    assert found.message.startswith("`b[0]` is a group of weights, not one,")
    assert codes(spec(f"{OUT} y = x + w.a.w")) == ["E0201"]
