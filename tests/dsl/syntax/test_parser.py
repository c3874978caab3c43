from __future__ import annotations

from pathlib import Path

import pytest

from tests.dsl.syntax.reading import places, read, read_manifest_ok, read_ok, show, statements
from trtn.dsl.diagnostics import Sink, Source
from trtn.dsl.syntax import ast, is_manifest, parse, parse_manifest
from trtn.dsl.syntax.walk import nodes

SAMPLE = Path(__file__).parents[2] / "data/fmt/sample.in.trtn"


def test_sample() -> None:
    sink = Sink()
    module = parse(Source("sample.trtn", SAMPLE.read_text()), sink)
    assert not sink.diagnostics
    kinds = ["Import", "WeightsDecl", "Block", "NetworkDecl", "Profile", "Target"]
    assert [type(item).__name__ for item in module.items] == kinds
    assert len(module.comments) == 3
    start, end = module.comments[0]
    assert module.source.text[start:end] == "# edition, first line, required"


def test_imports() -> None:
    imported, weights = read_ok('import "ops/a.trtn" as a\nweights w = "w.trtn"').items
    assert show(imported) == {"path": "ops/a.trtn", "alias": "a"}
    assert show(weights) == {"alias": "w", "path": "w.trtn"}
    assert isinstance(imported, ast.Import)
    assert (imported.path_start, imported.path_end) == (14, 26)


def test_block() -> None:
    (block,) = read_ok(
        'block f(x: T[B], m: bool[B, 2 * S], *, p: weights, n: int = 3, act: str = "gelu",) -> (y: T[B], z: f32[]) {'
        '\n doc "what"\n let k = n\n assert k < 4, "small"\n y = g(x)\n return y, m\n}'
    ).items
    assert isinstance(block, ast.Block)
    assert (block.name, block.doc) == ("f", "what")
    assert [p.name for p in block.sig.tensors] == ["x", "m"]
    assert [(p.name, p.kind, show(p.default)) for p in block.sig.attrs] == [
        ("p", "weights", None), ("n", "int", 3), ("act", "str", "gelu"),
    ]  # fmt: skip
    assert block.sig.result_names == ("y", "z")
    assert show(block.sig.results) == ["T[B]", "f32[]"]
    assert [type(s).__name__ for s in block.body] == ["Let", "Assert", "Assign", "Return"]
    (only,) = read_ok("block f(*, n: int) -> f32[n] { return g() }").items
    assert show(only)["sig"]["results"] == ["f32[n]"]


def test_network_members_in_any_order() -> None:
    members = statements(
        'y = f(x)\ninput x: f32[B]\ndim B in 1..2*8 step 8\ndoc "late"\noutput y: f32[B]\nassert B > 1\nlet k = [1, 2]'
    )
    assert [type(m).__name__ for m in members] == ["Assign", "Input", "DimDecl", "Doc", "Output", "Assert", "Let"]
    assert show(members[2]) == {"name": "B", "low": 1, "high": ("*", 2, 8), "step": 8}


def test_targets() -> None:
    (assign,) = statements("layers[0].attn.out, `/stem/x`, _ = f(a)")
    names = [(t.name, t.quoted) for t in assign.targets]
    assert names == [("layers[0].attn.out", False), ("/stem/x", True), ("_", False)]


def test_annotations() -> None:
    first, second, third = statements('@precision(f32) @onnx("/a")\nx = a\n@keep repeat i in 0..2 { }\ny = a @ b')
    assert [(a.name, show(a.args)) for a in first.annotations] == [("precision", ["f32"]), ("onnx", ["/a"])]
    assert [a.name for a in second.annotations] == ["keep"]
    assert show(third.value) == ("@", "a", "b")


def test_repeat() -> None:
    (repeat,) = statements("repeat i in 0..n carry x, y as layer { x = f(x) repeat j in 1..2 { y = x } }")
    assert (repeat.variable, show(repeat.low), show(repeat.high), repeat.label) == ("i", 0, "n", "layer")
    assert [t.name for t in repeat.carry] == ["x", "y"]
    assert isinstance(repeat.body[1], ast.Repeat)
    assert (repeat.body[1].carry, repeat.body[1].label) == ((), None)


def test_if() -> None:
    (assign,) = statements("a, b = if c { d = f(x) yield d, x } else { yield x, x } : f32[1], f32[2]")
    assert isinstance(assign.value, ast.If)
    assert show(assign.value.condition) == "c"
    assert [type(s).__name__ for s in assign.value.then] == ["Assign", "Yield"]
    assert show(assign.value.otherwise) == [{"values": ["x", "x"]}]
    assert len(assign.types) == 2


def test_scan() -> None:
    (assign,) = statements(
        "h, ys = scan over x_t = x axis 1 reverse, m = f(m) axis -1 carry h = h0, c = c0 { yield h }"
    )
    scan = assign.value
    assert [(i.name, show(i.tensor), i.axis, i.reverse) for i in scan.inputs] == [
        ("x_t", "x", 1, True), ("m", ("f", ["m"], {}), -1, False),
    ]  # fmt: skip
    assert [(c.name, show(c.initial)) for c in scan.carry] == [("h", "h0"), ("c", "c0")]
    (over, carry) = statements("y = scan over a = b { yield a }\ny = scan carry a = b { }")
    assert (len(over.value.inputs), len(over.value.carry)) == (1, 0)
    assert (len(carry.value.inputs), len(carry.value.carry)) == (0, 1)


def test_loop() -> None:
    (assign,) = statements("y = loop i in 0..limit max 64 carry h = h0, go = go0 while go { h = f(h) yield h }")
    loop = assign.value
    assert (loop.variable, show(loop.limit), show(loop.maximum), loop.condition) == ("i", "limit", 64, "go")
    (short,) = statements("y = loop i in 0..8 { yield i }")
    assert (short.value.maximum, short.value.carry, short.value.condition) == (None, (), None)


def test_profile_and_target() -> None:
    profile, target = read_ok(
        "profile p for n { B: min 1, opt 2, max 3 `a.b`: min [1], opt [1, 2], max [max(2, 3), 4] }"
        'target t { network n profiles [p, q] device cuda:sm_90 workspace 4GiB output "x" strange -1.5\n'
        "precision { default f16 keep f32 for [a, b.c] keep bf16 for [d] } }"
    ).items
    assert isinstance(profile, ast.Profile)
    assert isinstance(target, ast.Target)
    assert (profile.name, profile.network) == ("p", "n")
    assert [e.name for e in profile.entries] == ["B", "a.b"]
    assert show(profile.entries[1].optimum) == [1, 2]
    fields = {f.name: f.value for f in target.fields}
    assert list(fields) == ["network", "profiles", "device", "workspace", "output", "strange", "precision"]
    assert isinstance(fields["network"], ast.Ref)
    assert show(fields["device"]) == "cuda:sm_90"
    assert show(fields["strange"]) == ("-", 1.5)
    precision = fields["precision"]
    assert isinstance(precision, ast.Precision)
    assert (precision.default, precision.keep) == ("f16", (("f32", ("a", "b.c")), ("bf16", ("d",))))


def test_plugin() -> None:
    (plugin,) = read_ok(
        'plugin rope(x: T[B], *, base: float = 1e4) -> T[B] { where T in {f16, bf16} source "a.py" version "1.2" }'
    ).items
    assert isinstance(plugin, ast.Plugin)
    assert [(w.variable, w.dtypes) for w in plugin.where] == [("T", ("f16", "bf16"))]
    assert [(f.name, show(f.value)) for f in plugin.fields] == [("source", "a.py"), ("version", "1.2")]


def test_manifest() -> None:
    manifest = read_manifest_ok(
        "manifest m {\n"
        ' file f0 = "a.safetensors" size 438MB sha256:00ff file f1 = "b.bin"\n'
        ' tensor a.b[0].c: f16[768, 3072] = f0["key"] transpose sha256:77aa\n'
        " tensor `/x/y.1`: f32[3] = f1 offset 128 sha256:ab\n tensor z: f32[] = zeros\n"
        " tensor n: f32[3] = normal(7, 0.02) sha256:cd\n tensor i: f32[2, 1] = inline [[1], [-inf]]\n}"
    )
    assert [(f.name, f.path, show(f.size), f.digest) for f in manifest.files] == [
        ("f0", "a.safetensors", 438_000_000, "sha256:00ff"), ("f1", "b.bin", None, None),
    ]  # fmt: skip
    stored, raw, zeros, normal, inline = manifest.tensors
    assert (stored.name, stored.file, stored.key, stored.transpose) == ("a.b[0].c", "f0", "key", True)
    assert (stored.digest, show(stored.type)) == ("sha256:77aa", "f16[768, 3072]")
    assert (raw.name, raw.file, raw.key, raw.offset) == ("/x/y.1", "f1", None, 128)
    assert (zeros.generator, zeros.file, zeros.args) == ("zeros", None, ())
    assert (normal.generator, show(normal.args), normal.digest) == ("normal", [7, 0.02], "sha256:cd")
    assert (inline.generator, show(inline.args)) == ("inline", [[[1], [("-", float("inf"))]]])
    assert all(type(t.name) is str for t in manifest.tensors)


def test_kinds_of_files() -> None:
    spec, manifest = "trtn 1\nnetwork n {\n}\n", "# x\ntrtn 1 # y\nmanifest m {\n}\n"
    assert (is_manifest(spec), is_manifest(manifest)) == (False, True)
    for text, reader in ((spec, parse_manifest), (manifest, parse)):
        sink = Sink()
        module = reader(Source("x", text), sink)
        assert (len(sink.diagnostics), module.items) == (1, ())
        assert "manifest" in sink.diagnostics[0].help


@pytest.mark.parametrize(
    ("text", "code", "items"),
    [
        ("", "E0103", 0),
        ("# nothing\n", "E0103", 0),
        ("network n {\n}\n", "E0103", 1),
        ("{}", "E0103", 0),
        ("trtn\nnetwork n {\n}\n", "E0103", 0),
        ("trtn one\n", "E0103", 0),
        ("trtn 2\nthis is another language", "E0104", 0),
        ("\n# licence\ntrtn 1 network n {\n}\n", None, 1),
    ],
)
def test_edition(text: str, code: str | None, items: int) -> None:
    sink = Sink()
    module = parse(Source("x", text), sink)
    assert [d.code for d in sink.diagnostics] == ([] if code is None else [code])
    assert len(module.items) == items


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("block f() -> f32[] {\n x = g()\n}", 3, "does not end in `return`"),
        ("block f() -> f32[] {\n return a\n x = g()\n}", 2, "not the last statement"),
        ("block f() -> f32[] {\n repeat i in 0..2 {\n yield a\n }\n return a\n}", 3, "no place in a `repeat`"),
        ("network n {\n return a\n}", 2, "no place in a network"),
        (
            "network n {\n y = if c {\n yield a\n b = a\n } else {\n yield a\n }\n}",
            3,
            "not the last statement of an `if`",
        ),
        ("network n {\n y = scan carry a = b {\n return a\n }\n}", 3, "no place in a `scan`"),
    ],
)
def test_return_and_yield_stand_last(text: str, line: int, words: str) -> None:
    _, found = read(text)
    assert [code for code, at, _ in places(found) if at == line] == ["E0213"]
    assert words in next(d.message for d in found if d.span is not None and d.span.line == line + 1)


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ("(n: int)", "belongs after the `*`"),
        ("(*, x: f32[1])", "belongs before the `*`"),
        ("(*, *, n: int)", "second `*`"),
    ],
)
def test_signatures(signature: str, words: str) -> None:
    _, found = read(f"block f{signature} -> f32[1] {{ return x }}")
    assert [d.code for d in found] == ["E0101"]
    assert words in found[0].message


def test_loop_counts_from_zero() -> None:
    _, found = read("network n {\n y = loop i in 1..8 { yield i }\n}")
    assert places(found) == [("E0101", 2, 16)]


@pytest.mark.parametrize(
    "statement",
    [
        "y = relu(x)",
        "a[0].b = f.g(x, w.l[12].q, true)",
        "y = f(x, axis=-1, perm=[0, -2], eps=1e-12, kind=f16, flag=false, n=max)",
        'y = f(x, text="a) = (b, c=1", other="\\u{e9} \\"") : f32[N, 3]',
        "output = relu(inf, none) : f32[]",
        'y = f(\n    x,\n    w.a,\n    axis=-1,\n    text="a, b=c",\n  ) : f32[N]',
        "y = f(x, n=-12345678901234567890123456789012345678901)",
    ],
)
@pytest.mark.parametrize("behind", ["", "  # and so", "\n\n# a line"])
def test_a_statement_of_one_token_says_what_it_says_spelled_out(statement: str, behind: str) -> None:
    """One blank where the canonical text has one, and a line end, are read at once; two blanks take the rules."""
    found = []
    for text in (statement, statement.replace(" = ", "  = ", 1)):
        source = Source("m.trtn", f"trtn 1\nnetwork n {{\n  {text}{behind}\n}}")
        sink = Sink()
        (network,) = parse(source, sink).items
        assert isinstance(network, ast.NetworkDecl)
        (assign,) = network.members
        places = [(type(node), source.text[node.start : node.end]) for node in nodes([assign])]
        names = [k.name_end - k.start for k in nodes([assign]) if isinstance(k, ast.Kwarg)]
        found.append(
            (show(assign), sorted(places[1:], key=str), names, [(d.code, d.message) for d in sink.diagnostics])
        )
    assert found[0] == found[1]


@pytest.mark.parametrize("behind", ["+ z", ": f32[3]", "\n  @ z", "\n  : f32[3]", "# so\n  + z"])
def test_a_statement_goes_on_behind_its_call(behind: str) -> None:
    (assign,) = statements(f"  y = relu(x) {behind}")
    assert isinstance(assign.value, ast.Binary) or len(assign.types) == 1
