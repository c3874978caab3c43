"""The application: which verbs there are, and what every call of one goes through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from trtn.cli.failures import failures_become_exit_codes
from trtn.cli.options import CONTEXT, epilog

__all__ = ["VERBS", "app"]

VERBS = {
    "import": "import_model",
    "export": "export",
    "check": "check",
    "fmt": "fmt",
    "build": "build",
    "lock": "lock",
    "run": "run",
    "bench": "bench",
    "inspect": "inspect",
    "plan": "plan",
    "lint": "lint",
    "diff": "diff",
    "breaking": "breaking",
    "git": "git",
    "lsp": "lsp",
    "verify": "verify",
    "weights": "weights",
    "explain": "explain",
    "version": "version",
}
"""Each verb's module; it binds `app` to a Typer."""


class _Commands(Mapping[str, Any]):
    """The verbs by name. Looking one up imports its module, listing the names imports none."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            command = typer.main.get_command(import_module(f"trtn.cli.{VERBS[name]}").app)
            command.name = name
            self._loaded[name] = command
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


class _Verbs(TyperGroup):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "commands": _Commands()})

    def make_context(self, *args: Any, **settings: Any) -> Any:
        with failures_become_exit_codes():  # it prints the help
            return super().make_context(*args, **settings)

    def invoke(self, ctx: Any) -> Any:
        with failures_become_exit_codes():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Verbs,
    context_settings=CONTEXT,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    epilog=epilog(
        "trtn import onnx resnet50.onnx -o resnet50.trtn",
        "trtn check resnet50.trtn",
        "trtn build resnet50.trtn -o resnet50.engine",
        "trtn run resnet50.engine --input x=image.npy -o out.npz",
        one="the input has findings",
    ),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from trtn import __version__

        typer.echo(f"trtn {__version__}")
        raise typer.Exit


@app.callback()
def trtn(
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Networks as text, and optimised engines from them.

    A `.trtn` spec says what a network computes, a weight manifest names its tensors; `trtn` checks both, converts ONNX
    models to specs, and builds, runs and measures engines.
    """
