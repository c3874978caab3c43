"""Manifests to tables: every finding, lookups, and that no weight file is touched."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.dsl.weights.helpers import codes, load, source
from trtn.dsl.diagnostics import Diagnostic, Sink, Source
from trtn.dsl.errors import BuildError
from trtn.dsl.syntax import ast, parse_manifest
from trtn.dsl.weights.manifest import load_manifest
from trtn.dsl.weights.table import natural_key

HASH = "sha256:" + "0" * 64


def findings(folder: Path, body: str, **options: bool) -> list[Diagnostic]:
    sink = Sink()
    load_manifest(source(folder, body), sink, **options)
    return sink.diagnostics


def test_table(tmp_path: Path) -> None:
    table = load(
        tmp_path,
        f"""file f0 = "gone.safetensors" size 1GB {HASH}
        tensor encoder.layer[0].q.weight: f16[2, 3] = f0["a"] transpose {HASH.replace("0", "a")}
        tensor encoder.layer[10].q.weight: f16[2, 3] = f0
        tensor encoder.layer[2].q.weight: f16[2, 3] = zeros
        tensor `onnx::MatMul_12`: f32[] = full(-1.5)
        tensor head: i8[4] = inline [1, -2, 3, 4]""",
    )
    assert table.name == "m" and len(table) == 5
    assert table.names[0] == "encoder.layer[0].q.weight"
    weight = table["encoder.layer[0].q.weight"]
    assert (str(weight.dtype), weight.shape, weight.digest) == ("f16", (2, 3), "sha256:" + "a" * 64)
    assert weight.span is not None and weight.span.text == "tensor encoder.layer[0].q.weight"
    assert table.get("nope") is None
    assert table["onnx::MatMul_12"].load().tolist() == -1.5
    assert table["head"].load().tolist() == [1, -2, 3, 4]


def test_tree(tmp_path: Path) -> None:
    table = load(
        tmp_path,
        "\n".join(f"tensor encoder.layer[{i}].q.weight: f32[1] = zeros" for i in (0, 10, 2))
        + "\ntensor encoder.norm: f32[1] = zeros\ntensor `a/b.c`: f32[1] = zeros",
    )
    assert table.has_prefix("encoder.layer[0]") and table.has_prefix("encoder.layer") and table.has_prefix("")
    assert table.has_prefix("encoder.layer[0].q.weight")
    assert not table.has_prefix("encoder.lay") and not table.has_prefix("encoder.layer[1]")
    assert table.children() == ("a/b", "encoder")
    assert table.children("encoder") == ("layer", "norm")
    assert table.children("encoder.layer") == ("[0]", "[2]", "[10]")
    assert table.children("encoder.layer[0].q.weight") == () == table.children("nope")
    assert table.suggest("encoder.layr[0].q.weight") == "encoder.layer[0].q.weight"
    assert table.suggest("encoder.layer[0].q.wieght") == "encoder.layer[0].q.weight"
    assert table.suggest("zzz") is None


def test_natural_order() -> None:
    names = ["layer[10].w", "layer[2].w", "layer[2].b", "a", "layer"]
    assert sorted(names, key=natural_key) == ["a", "layer", "layer[2].b", "layer[2].w", "layer[10].w"]


@pytest.mark.parametrize(
    ("body", "code", "marked"),
    [
        ('file a = "x.npy"\nfile a = "y.npy"\ntensor t: f32[1] = a', "E0202", 'file a = "y.npy"'),
        ("tensor t: f32[1] = zeros\ntensor t: f32[2] = zeros", "E0202", "tensor t"),
        ("tensor t: f31[1] = zeros", "E0301", "f31[1]"),
        ("tensor t: f32[N] = zeros", "E0306", "N"),
        ("tensor t: f32[2 + 3] = zeros", "E0306", "2 + 3"),
        (f"tensor t: f32[{', '.join(['1'] * 65)}] = zeros", "E0303", None),
        ("tensor t: f32[4611686018427387904] = zeros", "E0418", "f32[4611686018427387904]"),
        ("tensor t: f32[0, 4611686018427387904] = zeros", "E0418", None),
        ('file f0 = "x.npy"\ntensor t: f32[3] = f0 transpose', "E0303", None),
        ("tensor t: f32[1] = f0", "E0508", "f0"),
        ('file f0 = "x.npy"\ntensor t: f32[1] = zeros', "E0508", 'file f0 = "x.npy"'),
        ('file f0 = "../x.npy"\ntensor t: f32[1] = f0', "E0506", '"../x.npy"'),
        ('file f0 = "/etc/passwd"\ntensor t: f32[1] = f0', "E0506", '"/etc/passwd"'),
        ('file f0 = "a/../../x.npy"\ntensor t: f32[1] = f0', "E0506", None),
        ('file f0 = "x.pt"\ntensor t: f32[1] = f0', "E0504", '"x.pt"'),
        ('file f0 = "x.npy"\ntensor t: f32[1] = f0 sha256:12ab', "E0511", "sha256:12ab"),
        (f'file f0 = "x.npy" {HASH}0\ntensor t: f32[1] = f0', "E0511", None),
        ("tensor t: f32[1] = normal(0.02)", "E0507", "normal(0.02)"),
        ("tensor t: f32[1] = nromal(7, 0.02)", "E0507", None),
        ("tensor t: f32[2] = inline [1, 2, 3]", "E0507", None),
        ("tensor t: i32[1] = full(1.5)", "E0507", None),
        ("tensor t: f32[1] = full(x)", "E0507", None),
        ("tensor t: u8[1] = full(-1)", "E0507", None),
    ],
)
def test_findings(tmp_path: Path, body: str, code: str, marked: str | None) -> None:
    [found] = findings(tmp_path, body)
    assert found.code == code
    assert found.span is not None and (marked is None or found.span.text == marked)


def test_duplicates_point_at_the_first(tmp_path: Path) -> None:
    [found] = findings(tmp_path, "tensor t: f32[1] = zeros\ntensor t: f32[2] = ones")
    [label] = found.labels
    assert label.span.line == 3 and found.span is not None and found.span.line == 4


def test_hints(tmp_path: Path) -> None:
    assert findings(tmp_path, "tensor t: fp16[1] = zeros")[0].help == "did you mean `f16`?"
    [found] = findings(tmp_path, 'file bert = "x.npy"\ntensor a: f32[1] = bert\ntensor t: f32[1] = bret')
    assert found.help == "did you mean `bert`?"
    assert "pickled files run code" in findings(tmp_path, 'file f0 = "x.pt"\ntensor t: f32[1] = f0')[0].help


def test_a_file_that_is_not_declared_is_one_finding(tmp_path: Path) -> None:
    rows = "".join(f"\ntensor t{n}: f32[1] = nowhere" for n in range(164))
    [found] = findings(tmp_path, f'file f0 = "x.npy"{rows}')
    assert (found.code, found.notes) == ("E0508", ("163 more tensors are said to be there",))


def test_what_lines_with_errors_declare_is_not_missed(tmp_path: Path) -> None:
    body = 'fil f0 = "x.npy"\ntensor a: f32[N] = zeros\ntensor b: f32[1] = f0\ntensor c f32[2] = ones'
    table = load_manifest(source(tmp_path, body), Sink())
    assert [table.may_have_lost(name) for name in "abcd"] == [True, True, True, False]


def test_all_findings_are_collected(tmp_path: Path) -> None:
    sink = Sink()
    body = 'file f0 = "../x.npy"\ntensor a: f31[1] = f0\ntensor b: f32[1] = f1\ntensor c: f32[2] = ones'
    table = load_manifest(source(tmp_path, body), sink)
    assert sorted(codes(sink)) == ["E0301", "E0506", "E0508"]
    assert table.names == ("c",)


def test_outside_where_allowed(tmp_path: Path) -> None:
    folder = tmp_path / "specs"
    folder.mkdir()
    np.save(tmp_path / "x.npy", np.ones(3, "f4"))
    (folder / "link.npy").symlink_to(tmp_path / "x.npy")
    for path in ("../x.npy", str(tmp_path / "x.npy"), "link.npy"):
        body = f'file f0 = "{path}"\ntensor t: f32[3] = f0'
        assert [d.code for d in findings(folder, body)] == ["E0506"]
        sink = Sink()
        table = load_manifest(source(folder, body), sink, allow_outside=True)
        assert not sink.diagnostics and table["t"].load().tolist() == [1, 1, 1]
    wider = Sink()
    load_manifest(source(folder, 'file f0 = "specs/a.npy"\ntensor t: f32[3] = f0'), wider, root=tmp_path)
    assert not wider.diagnostics


def test_a_link_that_appears_later_is_refused_too(tmp_path: Path) -> None:
    folder = tmp_path / "specs"
    folder.mkdir()
    np.save(tmp_path / "x.npy", np.ones(3, "f4"))
    table = load(folder, 'file f0 = "x.npy"\ntensor t: f32[3] = f0')
    (folder / "x.npy").symlink_to(tmp_path / "x.npy")
    with pytest.raises(BuildError) as caught:
        table["t"].load()
    assert caught.value.diagnostics[0].code == "E0506"


def test_checking_opens_no_weight_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.npy")  # opening it to read would wait for ever
    load(tmp_path, 'file f0 = "x.npy"\ntensor t: f32[3] = f0')


def test_transpose(tmp_path: Path) -> None:
    array = np.arange(24, dtype="f4").reshape(2, 3, 4)
    np.save(tmp_path / "x.npy", array)
    loaded = load(tmp_path, 'file f0 = "x.npy"\ntensor t: f32[2, 4, 3] = f0 transpose')["t"].load()
    assert np.array_equal(loaded, array.swapaxes(1, 2))
    assert loaded.flags.c_contiguous and not loaded.flags.writeable


def test_raw_offsets(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(4) + np.arange(4, dtype="<i4").tobytes())
    table = load(tmp_path, 'file f0 = "x.bin"\ntensor t: i32[2, 2] = f0 transpose offset 4\ntensor u: i32[1] = f0')
    assert table["t"].load().tolist() == [[0, 2], [1, 3]]
    assert table["u"].load().tolist() == [0]


@pytest.mark.parametrize(
    ("type_", "key", "file", "code", "primary"),
    [
        ("f16[3]", "w", "x.npz", "E0503", "f16[3]"),
        ("f32[4]", "w", "x.npz", "E0503", "f32[4]"),
        ("f32[3]", "v", "x.npz", "E0505", 'f0["v"]'),
        ("f32[3]", "w", "y.npz", "E0504", 'f0["w"]'),
    ],
)
def test_errors_of_loading_point_into_the_manifest(
    tmp_path: Path, type_: str, key: str, file: str, code: str, primary: str
) -> None:
    np.savez(tmp_path / "x.npz", w=np.ones(3, "f4"))
    table = load(tmp_path, f'file f0 = "{file}"\ntensor t: {type_} = f0["{key}"]')
    with pytest.raises(BuildError) as caught:
        table["t"].load()
    [found] = caught.value.diagnostics
    assert found.code == code and code in str(caught.value)
    assert found.span is not None and found.span.text == primary and found.span.line == 4
    assert [label.span.text for label in found.labels] == [f'"{file}"']


@pytest.mark.parametrize(
    ("size", "fits"),
    [
        ("140", True),
        ("141", False),
        ("140B", True),
        ("1kB", False),
        ("0.1kB", True),
        ("0.2kB", False),
        ("0.14kB", True),
    ],
)
def test_sizes(tmp_path: Path, size: str, fits: bool) -> None:
    np.save(tmp_path / "x.npy", np.ones(3, "f4"))
    assert (tmp_path / "x.npy").stat().st_size == 140
    table = load(tmp_path, f'file f0 = "x.npy" size {size}\ntensor t: f32[3] = f0')
    if fits:
        assert table["t"].load().shape == (3,)
        return
    with pytest.raises(BuildError) as caught:
        table["t"].load()
    [found] = caught.value.diagnostics
    assert found.code == "E0509" and "has 140 bytes" in found.message
    assert found.span is not None and found.span.text == size


def test_a_spec_or_broken_text_gives_an_empty_table(tmp_path: Path) -> None:
    sink = Sink()
    table = load_manifest(source(tmp_path, "tensor t f32[1"), sink)
    assert sink.has_errors and len(table) == 0


@pytest.mark.parametrize("key", ["", '["a"]', '["\\u{e9} \\"]"]', '["a"] transpose', " transpose"])
@pytest.mark.parametrize("name", ["a.b[0]", "`a: f32[1] = f0`"])
def test_a_row_of_one_token_says_what_it_says_spelled_out(key: str, name: str) -> None:
    """One blank between all parts is read at once; a line break anywhere takes the rules."""
    row = f"tensor {name}: f16[2, 3] = f0{key} {HASH}"
    found = []
    for text in (row, row.replace(": f16", ":\n f16")):
        manifest = f'trtn 1\nmanifest m {{ file f0 = "x.safetensors"\n{text} }}'
        (item,) = parse_manifest(Source("m.weights.trtn", manifest), Sink()).items
        assert isinstance(item, ast.Manifest)
        (entry,) = item.tensors
        places = [
            (entry.start, entry.name_end),
            (entry.source_start, entry.source_end),
            (entry.digest_start, entry.end),
        ]
        words = [manifest[start:end] for start, end in places]
        assert manifest[entry.type.start : entry.type.end] == "f16[2, 3]"
        sizes = [dim.value.value for dim in entry.type.dims if isinstance(dim.value, ast.IntLit)]
        found.append((entry.name, entry.file, entry.key, entry.transpose, entry.digest, sizes, words))
    assert found[0] == found[1]
    assert found[0][5:] == ([2, 3], [f"tensor {name}", f"f0{key}", HASH])
