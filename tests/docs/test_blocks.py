"""Every block of README and docs that is a spec, a command or a program does what the page says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.corpus.models import folder
from tests.docs.blocks import LANGUAGES, MARKS, Block, Command, commands, page_blocks
from tests.docs.sandbox import Sandbox, difference
from trtn.dsl.diagnostics import Source
from trtn.dsl.load import is_manifest

ROOT = Path(__file__).parents[2]
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")})
NOT_RUN = 8
"""Blocks that may be shown without being run, over all pages."""


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    shutil.copytree(ROOT / "tests" / "data" / "errors", tmp_path / "tests" / "data" / "errors")
    return Sandbox(tmp_path, monkeypatch)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks(page: Path, sandbox: Sandbox) -> None:
    blocks = page_blocks(page)
    for block in blocks:  # specs may stand before the manifests that they name
        if block.title and not (sandbox.folder / block.title).exists() and is_manifest(Source("", block.text)):
            sandbox.write(block)
    for block in blocks:
        if block.mark[0] == "needs":
            model = folder() / block.mark[1]
            if not model.exists():
                pytest.skip(f"{block} needs {model.name} of the corpus")
            shutil.copy(model, sandbox.folder)
        if block.mark[0] != "no-run":
            sandbox.run(block)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_say_what_they_are(page: Path) -> None:
    for block in page_blocks(page):
        assert block.language in LANGUAGES, f"{block}: a block of language {block.language!r}"
        assert not block.mark[0] or block.mark[0] in MARKS, f"{block}: {block.mark}"


def test_few_blocks_are_not_run() -> None:
    idle = [str(b) for page in PAGES for b in page_blocks(page) if b.mark[0] == "no-run"]
    assert len(idle) <= NOT_RUN, idle


def test_commands_are_read() -> None:
    text = "$ one \\\n  more\nits output\n\n$ two\n"
    assert commands(text) == [Command("one \\\n  more", ("its output",)), Command("two", ())]


def test_output_is_compared() -> None:
    shown = Command("c", ("a .. b", "..", "end"))
    assert not difference(shown, "a 1.5 b\nx\ny\nend\n")
    assert not difference(shown, "a  b\nend\n")
    assert difference(shown, "a 1.5 c\nend\n")
    assert difference(shown, "a 1.5 b\nend\nmore\n")


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("trtn", "trtn 1\n\nnetwork n {\n  input x: f32[4]\n  output y: f32[4]\n  y = relu(z)\n}\n"),
        ("trtn", "trtn 1\nnetwork n {\n  input x: f32[4]\n  output y: f32[4]\n  y = relu( x )\n}\n"),
        ("console", "$ trtn check nothing.trtn\n"),
        ("console", "$ echo one\ntwo\n"),
        ("python", "raise SystemExit(1)\n"),
    ],
)
def test_a_wrong_block_fails(language: str, text: str, sandbox: Sandbox) -> None:
    with pytest.raises(AssertionError):
        sandbox.run(Block(ROOT / "page.md", 1, language, "", ("", ""), text))
