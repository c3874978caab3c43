"""A page for each verb of the command line, from what `--help` is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from docs.generate.markdown import cell, prose, table
from trtn.cli.app import app

__all__ = ["verb_pages"]


def verb_pages() -> dict[str, str]:
    root: Any = typer.main.get_command(app)
    pages: dict[str, str] = {}
    rows = []
    for name, command in root.commands.items():
        listed = list(_commands(f"trtn {name}", command))
        rows += [(f"[`{path}`]({name}.md#{path.replace(' ', '-')})", cell(prose(_first(c)))) for path, c in listed]
        title = [] if len(listed) == 1 else [f"# trtn {name}", ""]
        pages[f"verbs/{name}.md"] = "\n".join([*title, *(_entry(path, c, 2 if title else 1) for path, c in listed)])
    index = ["# Commands", "", *_paragraphs(root.help), "", *table(("command", "what it does"), rows), ""]
    return {"verbs/index.md": "\n".join([*index, *_epilog(root)]), **pages}


def _commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """A command, or those of a group."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from _commands(f"{path} {name}", inner)


def _entry(path: str, command: Any, level: int) -> str:
    with command.make_context(path, [], resilient_parsing=True) as context:
        usage = " ".join(command.collect_usage_pieces(context))
        rows = [record for p in command.params if (record := _record(p, context)) is not None]
    lines = [f"{'#' * level} {path}", "", f"`{path} {usage}`", "", *_paragraphs(command.help), ""]
    return "\n".join([*lines, *table(("argument or option", "what it says"), rows), "", *_epilog(command), ""])


def _record(parameter: Any, context: Any) -> tuple[str, str] | None:
    record = parameter.get_help_record(context)
    if record is None:
        return None
    names, text = record
    return cell(f"`{names}`"), cell(prose(text))


def _first(command: Any) -> str:
    return str(command.help or "").strip().partition("\n\n")[0]


def _paragraphs(text: str | None) -> list[str]:
    return prose((text or "").replace("\b\n", "").strip()).split("\n")


def _epilog(command: Any) -> list[str]:
    """The examples and exit codes as they are printed."""
    text = (command.epilog or "").replace("\b\n", "").strip()
    return ["```text", *text.split("\n"), "```"] if text else []
