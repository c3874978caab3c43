"""The site builds without a warning, and what is generated for it is right."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from docs.generate.examples import example
from docs.generate.pages import generated_pages as generate
from docs.generate.python_api import python_page
from trtn.cli.app import app
from trtn.dsl.diagnostics import CODES, Sink, Source
from trtn.dsl.lint import RULES as LINT
from trtn.dsl.load import check_source, load_text
from trtn.dsl.ops import catalogue
from trtn.dsl.review.breaking import RULES as BREAKING

ROOT = Path(__file__).parents[2]
TENSORRT = (ROOT / "docs" / "tensorrt.md").read_text(encoding="utf-8")
BUILT_IN = {"activation", "constant"}
OTHER_VERBS = {"E0215": "build"} | dict.fromkeys(
    ("E0502", "E0503", "E0504", "E0505", "E0509", "W0501"), "weights verify"
)
"""Codes whose example is a file, and that `trtn check` does not give."""


@cache
def generated_pages() -> dict[str, str]:
    return generate()


@pytest.mark.skipif(
    not os.environ.get("TRTN_FULL_TESTS"), reason="takes ten seconds: TRTN_FULL_TESTS=1 builds the site"
)
def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    conv = (tmp_path / "site" / "ops" / "conv.html").read_text(encoding="utf-8")
    assert 'id="deconv"' in conv


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"- (?:[\w ]+: )?([\w/-]+(?:\.md|/))$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    expanded = {p for p in listed if p.endswith(".md")} | {
        p for p in generated_pages() if f"{p.split('/')[0]}/" in listed
    }
    assert expanded == pages().keys()


def test_links_lead_somewhere() -> None:
    anchors = {path: set(_anchors(text)) for path, text in pages().items()}
    for path, text in pages().items():
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", _prose(text)):
            page, _, anchor = target.partition("#")
            whole = posixpath.normpath(posixpath.join(posixpath.dirname(path), page)) if page else path
            assert whole in anchors, f"{path}: {target}"
            assert not anchor or anchor in anchors[whole], f"{path}: {target}"


def test_links_of_the_top_level_lead_somewhere() -> None:
    for page in ROOT.glob("*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", _prose(page.read_text(encoding="utf-8"))):
            assert (ROOT / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("name", catalogue())
def test_every_op_has_an_example(name: str) -> None:
    text = example(catalogue()[name])
    assert text is not None, "docs/generate/examples.py has none"
    network = load_text(text, path="example.trtn")
    assert name in {layer.op.name for layer in network.graph.layers}


@pytest.mark.parametrize("code", [c for c in CODES if c[0] != "L" and not CODES[c].example.startswith("$")])
def test_the_example_of_a_code_gives_it(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = _files(CODES[code].example)
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    sink = Sink()
    for name, text in files.items():
        check_source(Source(name, text), sink)
    found = {d.code for d in sink.diagnostics}
    assert code not in found if code in OTHER_VERBS else code in found


def test_everything_has_its_place() -> None:
    pages = generated_pages()
    for name in catalogue():
        assert f"[`{name}`](" in pages["ops/index.md"]
    for code in CODES:
        assert f"[{code}](" in pages["codes/index.md"]
    for rule in (*LINT, *BREAKING):
        assert rule in pages["rules.md"]
    assert "#### run" in python_page("")


@pytest.mark.parametrize("path", [p for p in generated_pages() if p.startswith("verbs/")])
def test_pages_of_verbs(path: str) -> None:
    text = generated_pages()[path]
    assert "Usage:" not in text
    assert "\b" not in text


def test_examples_of_help_name_what_exists() -> None:
    lines = [line for page in generated_pages().values() for line in page.split("\n")]
    calls = {line.strip() for line in lines if line.startswith("  trtn ") and not line.startswith("  trtn -")}
    assert len(calls) > 40
    for call in sorted(calls):
        _check_call(call)


def test_calls_in_the_table_for_tensorrt_users_exist() -> None:
    cells = [line.split(" | ")[-1] for line in TENSORRT.split("\n") if line.startswith("| ")]
    calls = [span for cell in cells for span in re.findall(r"`(trtn [a-z][^`]*)`", cell)]
    assert len(calls) > 20
    for call in calls:
        _check_call(call)


def test_ops_in_the_table_for_tensorrt_users_exist() -> None:
    table = TENSORRT.partition("## Builder")[0]
    cells = [line.split(" | ", 1)[1] for line in table.split("\n") if line.startswith("| `")]
    named = {name for cell in cells for span in re.findall(r"`([^`]*)`", cell) for name in re.findall(r"(\w+)\(", span)}
    assert len(named) > 30
    assert named - {"NAME"} <= catalogue().keys() | BUILT_IN


@cache
def pages() -> dict[str, str]:
    """All pages of the site by path, written and generated."""
    folder = ROOT / "docs"
    written = {str(p.relative_to(folder)): p.read_text(encoding="utf-8") for p in folder.rglob("*.md")}
    return {**written, **generated_pages()}


def _prose(text: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)


def _anchors(text: str) -> Iterator[str]:
    for title in re.findall(r"^#+ (.+)$", _prose(text), re.MULTILINE):
        yield re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower())


def _check_call(call: str) -> None:
    """A command line whose verb and options exist; its files need not."""
    words = shlex.split(re.sub(r"\s[|>].*", "", call), comments=True)[1:]
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        assert words and words[0] in command.commands, call
        command = command.commands[words.pop(0)]
    known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"-h", "--help"}
    used = {word for word in words if word.startswith("-") and word != "-"}
    assert used <= known, call


def _files(text: str) -> dict[str, str]:
    """An example's files by name: one, or several that each follow a line `==> NAME <==`."""
    if not text.startswith("==> "):
        return {"net.trtn": text + "\n"}
    parts = re.split(r"^==> (.+) <==\n", text + "\n", flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))
