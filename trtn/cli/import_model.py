"""`trtn import`: models of other formats as specs that a person can review."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trtn.cli.console import Console
from trtn.cli.failures import usage_error
from trtn.cli.files import check_writable
from trtn.cli.grouped import grouped
from trtn.cli.options import (
    AllowOutside,
    Reporting,
    epilog,
    verb,
)
from trtn.cli.progress import ProgressBar
from trtn.cli.tables import bytes_text, plural

if TYPE_CHECKING:
    from trtn.dsl.dims import Range
    from trtn.dsl.network import Network

__all__ = ["app"]

app = verb()

_DIM = re.compile(r"(?P<name>[^=]+)=(?P<low>\d+)(\.\.(?P<high>\d+)(\s*(step|:)\s*(?P<step>\d+))?)?")


@app.callback(epilog=epilog("trtn import onnx resnet50.onnx -o resnet50.trtn", one="the model can't be imported"))
def import_model() -> None:
    """Turn a model of another format into a spec, a weight manifest and weights."""


@app.command(
    epilog=epilog(
        "trtn import onnx resnet50.onnx -o resnet50.trtn --dim N=1..64",
        'trtn import onnx bert.onnx -o bert.trtn --dim B=1..32 --dim "S=8..512 step 8" --name bert_base',
        "trtn import onnx resnet50.onnx -o -        # the spec's text alone, to read it",
        one="the model can't be imported; every node that stands in the way is listed",
    )
)
@grouped
def onnx(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The ONNX model, or `-`.")],
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="SPEC", help="The spec to write; manifest and weights go next to it."),
    ],
    dim: Annotated[
        list[str] | None,
        typer.Option(
            "--dim",
            metavar="NAME=RANGE",
            help="The range of an open dim: `N=1..64`, `N=8`, `S=8..512 step 8`. Once a dim.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="What the network is called.")] = None,
    keep_storage: Annotated[
        bool, typer.Option("--keep-storage", help="Leave weights in files under the spec's folder where they are.")
    ] = False,
    provenance: Annotated[bool, typer.Option("--provenance", help="Note the model's nodes in the spec.")] = False,
    flat: Annotated[bool, typer.Option("--flat", help="One layer a node: no patterns recognised, no blocks.")] = False,
    allow_outside: AllowOutside = False,
    *,
    reporting: Reporting,
) -> None:
    """Import an ONNX model.

    What exporters spell out in several nodes becomes one layer, repeated structure a block. Weights keep their paths in
    the model. Dims that the model leaves open get the range that --dim says. The spec is checked before it is written.
    """
    with Console.of(reporting) as console:
        ranges = dict(map(_dim, dim or ()))
        if output != "-":
            output = output if not output or output.endswith(".trtn") else f"{output}.trtn"
            check_writable(output)
        from trtn.dsl.convert.onnx import import_onnx
        from trtn.dsl.printer import print_network
        from trtn.dsl.save import save

        with ProgressBar(console, f"importing {Path(model).name}"):
            read = sys.stdin.buffer.read() if model == "-" else model
            network = import_onnx(read, dims=ranges, name=name, allow_outside=allow_outside, recognise=not flat)
            if output == "-":
                text = print_network(network) if flat else network.to_text()
                console.result(text.removesuffix("\n"))
                return
            save(network, output, keep_storage=keep_storage, provenance=provenance, flat=flat)
        console.status(f"{output}: {_summary(network)}")


def _dim(text: str) -> tuple[str, Range]:
    from trtn.dsl.dims import Range

    match = _DIM.fullmatch(text.strip())
    if match is None:
        raise usage_error(f"`{text}` is not NAME=LOW..HIGH, like `N=1..64`", "--dim")
    low = int(match["low"])
    step = int(match["step"] or 1)
    if step < 1:
        raise usage_error(f"`{text}`: a step is at least 1", "--dim")
    return match["name"].strip(), Range(low, int(match["high"] or low), step)


def _summary(network: Network) -> str:
    weights = [t.weight for t in network.weights if t.weight is not None]
    size = bytes_text(sum(w.nbytes for w in weights))
    dims = "".join(f", {n} in {r}" for n, r in network.dims.items())
    counts = f"{plural(len(network.layers), 'layer')}, {plural(len(weights), 'weight')} ({size})"
    return f"network {network.name}, {counts}{dims}"
