"""A page's folder: its files are written there, its commands and programs run there, in the order of the page."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.docs.blocks import Block, Command, commands
from trtn.cli.app import app
from trtn.dsl.diagnostics import Sink, Source
from trtn.dsl.load import check_source, is_manifest
from trtn.dsl.syntax.formatter import format_source

__all__ = ["Sandbox", "difference"]

_SHELL = re.compile(r"[|<>&;$*`]|\\\n|^\w+=")
_ANY = r"(?:.*\n)*?"
_SECONDS = 120


class Sandbox:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.chdir(folder)
        for name in ("FORCE_COLOR", "TRTN_BACKTRACE", "GITHUB_ACTIONS"):
            monkeypatch.delenv(name, raising=False)
        binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        settings = {"PATH": binaries, "NO_COLOR": "1", "HOME": str(folder), "TRTN_CACHE": str(folder / ".cache")}
        for name in ("AUTHOR", "COMMITTER"):
            settings |= {f"GIT_{name}_NAME": "A Reader", f"GIT_{name}_EMAIL": "reader@example.com"}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)

    def run(self, block: Block) -> None:
        """Whatever a block is; an AssertionError names the page and the line."""
        if block.title:
            self.write(block)
        match block.language:
            case "trtn":
                self._spec(block)
            case "console":
                self._console(block)
            case "python" if not block.title:
                done = self._process([sys.executable, "-c", block.text])
                assert done.returncode == 0, f"{block}: {done.stdout}"

    def write(self, block: Block) -> None:
        path = self.folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")

    def _spec(self, block: Block) -> None:
        sink = Sink()
        formatted = format_source(Source(block.title or "block", block.text))
        mark, value = block.mark
        if mark != "finds":
            assert formatted == block.text, f"{block}: not as `trtn fmt` writes it:\n{formatted}"
        if mark == "parse-only":
            return
        source = Source(block.title or f"line-{block.line}.trtn", block.text)
        networks = check_source(source, sink)
        found = sorted(d.code for d in sink.diagnostics)
        expected = sorted(value.split()) if mark == "finds" else []
        assert found == expected, f"{block}: {[f'{d.code} {d.message}' for d in sink.diagnostics]}"
        assert expected or networks or is_manifest(source) or "network " not in block.text, f"{block}: no network"

    def _console(self, block: Block) -> None:
        listed = commands(block.text)
        mark, value = block.mark
        for command in listed:
            expected = int(value) if mark == "exit" and command is listed[-1] else 0
            status, output = self.call(command.text)
            assert status == expected, f"{block}: `{command.text}` gives {status}:\n{output}"
            problem = difference(command, output)
            assert not problem, f"{block}: {problem}"

    def call(self, command: str) -> tuple[int, str]:
        """A command's exit status and what it prints. The command line runs in this process where no shell is needed:
        it is the same code, without Python's start."""
        if command.startswith("trtn ") and not _SHELL.search(command):
            result = CliRunner().invoke(app, shlex.split(command, comments=True)[1:])
            return result.exit_code, result.output
        done = self._process(["bash", "-c", command])
        return done.returncode, done.stdout

    def _process(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_SECONDS, check=False
        )


def difference(command: Command, output: str) -> str:
    """Where a command's output is not what the page shows; "" where it is, or where the page shows none.

    `..` stands for any text in a line, and on a line of its own for any lines.
    """
    if not command.output:
        return ""
    pattern = "".join(_ANY if line.strip() == ".." else f"{_line(line)} *\n" for line in command.output)
    text = output.rstrip("\n") + "\n"
    if re.fullmatch(pattern, text):
        return ""
    return f"`{command.text}` prints\n{text}\nand not\n" + "\n".join(command.output)


def _line(line: str) -> str:
    return ".*?".join(re.escape(part) for part in line.split(".."))
