"""`trtn verify`: a spec's outputs against those of the ONNX model that it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trtn.cli.console import Console
from trtn.cli.files import check_writable, replace_text
from trtn.cli.grouped import grouped
from trtn.cli.options import (
    NetworkOption,
    Reading,
    Reporting,
    ShapeOption,
    epilog,
    verb,
)
from trtn.cli.progress import ProgressBar
from trtn.cli.specs import load_spec
from trtn.cli.tables import plural, rows

if TYPE_CHECKING:
    from trtn.backend.runtime import Engine
    from trtn.cli.compare import Difference
    from trtn.cli.corners import Corner
    from trtn.cli.reference import Reference
    from trtn.dsl.diagnostics import Diagnostic, Span
    from trtn.dsl.network import Network

__all__ = ["app"]

app = verb()


@app.command(
    epilog=epilog(
        "trtn verify resnet50.trtn --against resnet50.onnx",
        "trtn verify resnet50.trtn --against resnet50.onnx --shape x=2,3,224,224 --rtol 1e-3",
        "trtn verify resnet50.trtn --against resnet50.onnx --layers    # where do they depart?",
        "trtn verify resnet50.trtn --against resnet50.onnx --junit verify.xml",
        one="the spec has findings, or an output differs by more than the tolerance",
    )
)
@grouped
def verify(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="The spec, or `-`.")],
    against: Annotated[str, typer.Option("--against", metavar="MODEL", help="The ONNX model to compare with.")],
    shape: ShapeOption = None,
    rtol: Annotated[
        float | None,
        typer.Option(
            "--rtol", min=0.0, help="The tolerance. Default: 1e-4; f16 1e-2; bf16 5e-2; quantized networks 5e-2."
        ),
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Also compare layer by layer, and name the first that departs.")
    ] = False,
    seed: Annotated[int, typer.Option("--random", min=0, metavar="SEED", help="The seed of the made-up feeds.")] = 0,
    junit: Annotated[
        str | None,
        typer.Option("--junit", metavar="FILE", help="Also write a JUnit report: a test an output and corner."),
    ] = None,
    network: NetworkOption = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="NAME", help="Verify in this target's precision.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="DEVICE", help="The device to run the spec on.")
    ] = None,
    *,
    reporting: Reporting,
    reading: Reading,
) -> None:
    """Run a spec and an ONNX model on the same made-up feeds and compare all outputs.

    Needs onnxruntime. Runs at the min, opt and max of every profile, or at the shapes that --shape gives. An error is
    relative to the largest magnitude in the model's output: max |a - b| / max |b|. Sigmoids in f32, which are rounded
    where they are near 1 and not where they are near 0, may also be off by 4 * 2^-24 = 2.4e-07 (`floor`). JSON: as
    `trtn check`, and `comparisons` (corner, dims, output, dtype, shape, max_abs, max_rel, tolerance, floor, ok).

    With --layers the spec's layers are evaluated one by one too, without passes and fusion, and each result that the
    model has as well is compared with it, at the first corner at which one departs; without --rtol by ten times an
    output's tolerance. JSON: `layers` (layer, op, tensor, value, place, and the numbers as above).
    """
    with Console.of(reporting) as console:
        from trtn.cli.feeds import read_shapes
        from trtn.cli.reference import Reference

        if junit is not None:
            check_writable(junit, "--junit")
        shapes = read_shapes(shape)
        reference = Reference(against)
        net, chosen = load_spec(
            console,
            spec,
            network=network,
            target=target,
            reading=reading,
        )
        from trtn.backend.build import build
        from trtn.cli.corners import corners

        with ProgressBar(console, f"building {net.name}") as progress:
            precision = chosen.precision if chosen is not None else None
            engine = build(net, device=device, precision=precision, progress=progress)
        places = corners(net, shapes)
        results = []
        with ProgressBar(console, "comparing") as progress:
            for n, corner in enumerate(places):
                progress("comparing", n, len(places))
                differences = list(_compare(engine, reference, corner, seed, rtol))
                console.result("\n".join(_human(corner, differences)))
                console.found(_finding(net, corner, d) for d in differences if not d.ok)
                results.append((corner, differences))
        console.attach(
            "comparisons",
            [{"corner": c.name, "dims": dict(c.sizes), **d.json()} for c, differences in results for d in differences],
        )
        if junit is not None:
            from trtn.cli.junit import junit_report

            replace_text(Path(junit), junit_report(net.name, results))
        if layers:
            _report_layers(console, net, reference, places, seed, rtol, reading.allow_outside)
        if not console.has_errors:
            console.status(f"\n{net.name} agrees with {against} at {plural(len(places), 'corner')}")


def _compare(
    engine: Engine, reference: Reference, corner: Corner, seed: int, rtol: float | None
) -> Iterator[Difference]:
    """Runs both at one corner."""
    from trtn.cli.compare import compare, default_tolerance
    from trtn.cli.rounding import rounding_floor

    network = engine.network
    floor = rounding_floor(network)
    feeds = _feeds(network, corner, seed)
    expected = reference.run(network, feeds)
    actual = engine.run(feeds)
    for t in network.outputs:
        tolerance = rtol if rtol is not None else default_tolerance(network, t)
        yield compare(t, actual[t.name], expected[t.name], tolerance, floor(t))


def _feeds(network: Network, corner: Corner, seed: int) -> dict[str, Any]:
    from trtn.cli.made_up import make_up

    return {
        t.name: make_up(network, t, corner.shapes[t.name], seed=seed, sizes=corner.sizes, values=corner.values)
        for t in network.inputs
    }


def _report_layers(
    console: Console,
    network: Network,
    reference: Reference,
    places: list[Corner],
    seed: int,
    rtol: float | None,
    allow_outside: bool,
) -> None:
    """The table of all layers at the first corner at which one departs, else at the last; a finding for that layer."""
    from trtn.cli.layers import compare_layers, first_departure, layer_table
    from trtn.dsl.convert.onnx.counterparts import counterparts
    from trtn.dsl.diagnostics import Diagnostic

    with ProgressBar(console, "matching layers") as progress:
        values = counterparts(network, reference.path, allow_outside=allow_outside)
        for n, corner in enumerate(places):
            progress("comparing layers", n, len(places))
            found = compare_layers(network, reference, values, _feeds(network, corner, seed), corner.sizes, rtol)
            first = first_departure(found)
            if first is not None:
                break
    console.result("\n".join(["", f"layers, {corner}", *layer_table(found)]))
    console.attach("layers", [d.json() for d in found])
    if first is None:
        words = f"{plural(len(found), 'result')} of {plural(len(network.layers), 'layer')} compared, none departs"
        console.status(f"\n{words}")
        return
    message = f"`{first.layer.name}` is the first layer that departs: {first.difference.reason()}"
    notes = (f"the model's value: `{first.value}`", str(corner))
    console.found([Diagnostic("E0804", message, first.layer.origin.span, notes=notes)])


def _finding(network: Network, corner: Corner, difference: Difference) -> Diagnostic:
    from trtn.dsl.diagnostics import Diagnostic

    name = difference.tensor.name
    message = f"`{name}` differs from the model's: {difference.reason()}"
    return Diagnostic("E0804", message, _maker(network, name), notes=(str(corner),))


def _maker(network: Network, name: str) -> Span | None:
    """Where the spec computes an output."""
    from trtn.dsl.network import walk

    return next(
        (layer.origin.span for layer in walk(network.graph) if any(t.name == name for t in layer.outputs)), None
    )


def _human(corner: Corner, differences: list[Difference]) -> list[str]:
    table = [["output", "type", "max abs", "max rel", "tolerance", ""]]
    for d in differences:
        facts: Mapping[str, Any] = d.json()
        shape = ", ".join(map(str, facts["shape"]))
        numbers = [_number(v) for v in (facts["max_abs"], facts["max_rel"])]
        verdict = "rounding" if d.is_rounding else "ok" if d.ok else "DIFFERS"
        table.append([d.tensor.name, f"{facts['dtype']}[{shape}]", *numbers, f"{d.tolerance:.0e}", verdict])
    return [str(corner), *rows(table, right=(2, 3, 4))]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2e}" if value else "0"
