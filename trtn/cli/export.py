"""`trtn export`: a spec as a model of another format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trtn.cli.console import Console
from trtn.cli.files import check_writable
from trtn.cli.grouped import grouped
from trtn.cli.options import (
    NetworkOption,
    Reading,
    Reporting,
    epilog,
    verb,
)
from trtn.cli.progress import ProgressBar
from trtn.cli.specs import load_spec
from trtn.cli.tables import bytes_text, plural

if TYPE_CHECKING:
    from trtn.dsl.network import Network

__all__ = ["app"]

app = verb()


@app.callback(epilog=epilog("trtn export onnx resnet50.trtn -o resnet50.onnx", one="the spec has findings"))
def export() -> None:
    """Write a spec as a model of another format."""


@app.command(
    epilog=epilog(
        "trtn export onnx resnet50.trtn -o resnet50.onnx",
        "trtn export onnx bert_base.trtn -o bert_base.onnx --opset 17 --external-data",
        one="the spec has findings, or a layer has no form in that opset",
    )
)
@grouped
def onnx(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="The spec, or `-`.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="MODEL", help="The ONNX model to write.")],
    opset: Annotated[int, typer.Option("--opset", min=17, metavar="N", help="The opset to write it in.")] = 21,
    external_data: Annotated[
        bool | None,
        typer.Option(
            "--external-data/--no-external-data",
            help="Put the weights in MODEL.data beside the model. Default: where they are over 1.5 GB.",
        ),
    ] = None,
    network: NetworkOption = None,
    *,
    reporting: Reporting,
    reading: Reading,
) -> None:
    """Export a spec as an ONNX model.

    Inputs, outputs, weights and dims keep their names. Ops that the opset lacks are spelled out. Ranges of dims,
    asserts and profiles go to the model's metadata; the result is a `trtexec` command line for each profile.
    """
    with Console.of(reporting) as console:
        check_writable(output)
        net, _ = load_spec(
            console,
            spec,
            network=network,
            reading=reading,
        )
        from trtn.dsl.convert.export import save_onnx, trtexec_command

        with ProgressBar(console, f"exporting {net.name}") as progress:
            files = save_onnx(net, output, opset=opset, external_data=external_data, progress=progress)
        names = [p.name for p in net.profiles] if len(net.profiles) > 1 else [None]
        commands = [trtexec_command(net, output, profile=name) for name in names]
        console.result("\n".join(commands))
        console.attach("trtexec", commands)
        console.status(f"{output}: {_summary(net, opset, files)}")


def _summary(network: Network, opset: int, files: Sequence[Path]) -> str:
    sizes = ", ".join(f"{f.name} {bytes_text(f.stat().st_size)}" for f in files)
    return f"network {network.name}, {plural(len(network.layers), 'layer')}, opset {opset}, {sizes}"
