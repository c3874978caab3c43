"""Options that several verbs have, and the end of their help: examples and exit codes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

__all__ = [
    "CONTEXT",
    "MAX_ERRORS",
    "AllowOutside",
    "Color",
    "ColorOption",
    "DocumentFormat",
    "DocumentOption",
    "Format",
    "FormatOption",
    "MaxErrors",
    "MaxExpansion",
    "NetworkOption",
    "Printing",
    "ProfileOption",
    "Quiet",
    "Reading",
    "Reporting",
    "ShapeOption",
    "StdinFilename",
    "TrustedOption",
    "epilog",
    "verb",
]

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Format(StrEnum):
    """How findings are reported."""

    HUMAN = "human"
    CONCISE = "concise"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


class DocumentFormat(StrEnum):
    """How a verb's result is printed."""

    HUMAN = "human"
    JSON = "json"


class Color(StrEnum):
    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


FormatOption = Annotated[
    Format,
    typer.Option(
        "--format", help="How findings are reported: human on stderr, the others on stdout.", show_choices=True
    ),
]
DocumentOption = Annotated[
    DocumentFormat,
    typer.Option("--format", help="How the result is printed. On failure, json gives the document of `trtn check`."),
]
ColorOption = Annotated[
    Color, typer.Option("--color", help="Colours. auto: on a terminal; NO_COLOR and FORCE_COLOR count.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print findings and results only.")]
MaxErrors = Annotated[
    int, typer.Option("--max-errors", min=0, metavar="N", help="Most errors shown to a person; 0 for all.")
]
AllowOutside = Annotated[
    bool, typer.Option("--allow-outside", help="Let files lie outside the folder of the file that names them.")
]
MaxExpansion = Annotated[
    int | None,
    typer.Option("--max-expansion", min=1, metavar="N", help="Most layers that blocks and repeats may expand to."),
]
StdinFilename = Annotated[
    str | None,
    typer.Option(
        "--stdin-filename", metavar="FILE", help="What `-` is called in messages; imports are relative to its folder."
    ),
]
NetworkOption = Annotated[
    str | None, typer.Option("--network", metavar="NAME", help="Which network, where the spec has several.")
]
ProfileOption = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="Hold the run to this profile.")]
TrustedOption = Annotated[
    bool | None,
    typer.Option(
        "--trusted/--untrusted",
        help="Whether compiled kernels in the engine are used; they are code. Default: those that were written here.",
    ),
]
ShapeOption = Annotated[
    list[str] | None,
    typer.Option("--shape", metavar="NAME=D,D,..", help="An input's shape: `x=1,3,224,224`. Once an input."),
]

MAX_ERRORS = 20


@dataclass(frozen=True, slots=True)
class Reporting:
    """How a verb that checks things reports."""

    format: FormatOption = Format.HUMAN
    color: ColorOption = Color.AUTO
    quiet: Quiet = False
    max_errors: MaxErrors = MAX_ERRORS


@dataclass(frozen=True, slots=True)
class Printing:
    """How a verb prints its result."""

    format: DocumentOption = DocumentFormat.HUMAN
    color: ColorOption = Color.AUTO
    quiet: Quiet = False


@dataclass(frozen=True, slots=True)
class Reading:
    """How a verb reads a spec."""

    stdin_filename: StdinFilename = None
    allow_outside: AllowOutside = False
    max_expansion: MaxExpansion = None


def epilog(*examples: str, one: str) -> str:
    """The end of a verb's help: example command lines, and what the exit codes mean (`one`: what 1 means here)."""
    codes = [
        ("0", "fine"),
        ("1", one),
        ("2", "wrong usage, or an environment in which this can't work"),
        ("70", "a bug in trtn"),
        ("130", "interrupted"),
    ]
    # `\b` keeps the lines of a paragraph as they are.
    listed = [
        "\b",
        "Examples:",
        *(f"  {e}" for e in examples),
        "",
        "\b",
        "Exit codes:",
        *(f"  {c:<4} {text}" for c, text in codes),
    ]
    return "\n".join(listed)


def verb() -> typer.Typer:
    """A Typer for a verb's module, with the settings that all share."""
    return typer.Typer(
        context_settings=CONTEXT, rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False
    )
