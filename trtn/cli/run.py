"""`trtn run`: one run of an engine, on files or on made-up feeds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zipfile import ZipFile

import typer

from trtn.cli.console import Console
from trtn.cli.engines import load
from trtn.cli.failures import usage_error
from trtn.cli.files import check_writable
from trtn.cli.grouped import grouped
from trtn.cli.options import (
    Printing,
    ProfileOption,
    ShapeOption,
    TrustedOption,
    epilog,
    verb,
)
from trtn.cli.tables import duration, number, rows

if TYPE_CHECKING:
    import numpy as np

    from trtn.dsl.network import Tensor

__all__ = ["app"]

app = verb()

_LARGEST = 5
"""How many of a row's largest elements are shown, where a row looks like scores of classes."""
_LARGEST_ROWS = 4


@app.command(
    epilog=epilog(
        "trtn run resnet50.engine --input x=image.npy -o out.npz",
        "trtn run bert.engine --input ids=feeds.npz:ids --input mask=feeds.npz:mask",
        "trtn run resnet50.engine --input x=image.bin --shape x=1,3,224,224",
        "trtn run resnet50.engine --random 0 --shape x=8,3,224,224",
        one="the engine is damaged, or the feeds do not fit it",
    )
)
@grouped
def run(
    engine: Annotated[str, typer.Argument(metavar="ENGINE", help="The engine file, or `-`.")],
    input: Annotated[  # noqa: A002
        list[str] | None,
        typer.Option(
            "--input", metavar="NAME=SOURCE", help="x=a.npy, x=b.npz:key, x=raw.bin or x=random:SEED. Once an input."
        ),
    ] = None,
    shape: ShapeOption = None,
    random: Annotated[
        int | None, typer.Option("--random", min=0, metavar="SEED", help="Make up all inputs that are not given.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Where outputs go: .npz, or .npy for one.")
    ] = None,
    profile: ProfileOption = None,
    trusted: TrustedOption = None,
    *,
    printing: Printing,
) -> None:
    """Run an engine once and sum up its outputs.

    JSON: format_version, engine, profile, seconds, inputs and outputs (name, dtype, shape; min, mean, max of outputs).
    """
    from trtn.cli.feeds import FeedPlan

    plan = FeedPlan.parse(input, shape, random, profile)
    if output is not None:
        check_writable(output)
        if not output.endswith((".npz", ".npy")):
            raise usage_error(f"`{output}` must end in .npz or .npy", "--output")
    with Console.of(printing) as console:
        loaded = load(engine, trusted)
        network = loaded.network
        if output is not None and output.endswith(".npy") and len(network.outputs) != 1:
            raise usage_error(f"a .npy file holds one array; the engine has {len(network.outputs)} outputs", "--output")
        context = loaded.create_context(profile)
        feeds = plan.arrays(network, loaded.profiles)
        begin = time.perf_counter()
        results = context.run(feeds)
        took = time.perf_counter() - begin
        if output is not None:
            _save(output, results)
        chosen = context.profile.name if context.profile is not None else None
        summaries = {t.name: _summary(t, results[t.name]) for t in network.outputs}
        console.result("\n".join(_human(summaries, results)))
        console.status(
            f"ran in {duration(took)}"
            + (f", profile {chosen}" if chosen else "")
            + (f", outputs in {output}" if output else "")
        )
        inputs = {t.name: {"dtype": t.dtype.name, "shape": list(feeds[t.name].shape)} for t in network.inputs}
        console.document(
            {
                "format_version": "1.0",
                "engine": loaded.name,
                "profile": chosen,
                "seconds": took,
                "inputs": inputs,
                "outputs": summaries,
            }
        )


def _summary(tensor: Tensor, array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Type, shape and extremes; min, mean and max are null where there are no finite elements."""
    import numpy as np

    wide = (
        array.astype(np.float64) if tensor.dtype.is_float else array.astype(np.int8) if tensor.dtype.bits < 8 else array
    )
    finite = wide[np.isfinite(wide)]
    facts: dict[str, Any] = {
        "dtype": tensor.dtype.name,
        "shape": list(array.shape),
        "min": None,
        "mean": None,
        "max": None,
    }
    if finite.size:
        facts |= {"min": finite.min().item(), "mean": float(finite.mean()), "max": finite.max().item()}
    facts["not_finite"] = int(wide.size - finite.size)
    return facts


def _human(summaries: Mapping[str, dict[str, Any]], results: Mapping[str, np.ndarray[Any, Any]]) -> list[str]:
    table = [["output", "type", "min", "mean", "max"]]
    for name, facts in summaries.items():
        values = [number(facts[k]) if facts[k] is not None else "-" for k in ("min", "mean", "max")]
        remark = f"{facts['not_finite']:,} not finite" if facts["not_finite"] else ""
        table.append([name, f"{facts['dtype']}[{', '.join(map(str, facts['shape']))}]", *values, remark])
    lines = rows(table, right=(2, 3, 4), indent="")
    for name, array in results.items():
        lines += _largest(name, array)
    return lines


def _largest(name: str, array: np.ndarray[Any, Any]) -> list[str]:
    """The largest elements of the first rows, where an output has the shape of class scores."""
    import numpy as np

    if array.dtype.kind != "f" or array.ndim not in (1, 2) or array.shape[-1] < _LARGEST or not array.size:
        return []
    lines = []
    for n, row in enumerate(array.reshape(-1, array.shape[-1])[:_LARGEST_ROWS]):
        best = np.argsort(-row, kind="stable")[:_LARGEST]
        label = f"{name}[{n}]" if array.ndim == 2 else name
        lines.append(f"{label} largest: " + ", ".join(f"{i}: {number(float(row[i]))}" for i in best))
    return lines


def _save(path: str, results: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Dtypes that NumPy's formats lack are widened: bf16 and 8-bit floats to f32, 4-bit integers to i8."""
    import numpy as np

    from trtn.dsl.weights.atomic import replacing

    with replacing(Path(path)) as file:
        if path.endswith(".npy"):
            (array,) = results.values()
            np.save(file, _storable(array), allow_pickle=False)
            return
        # Not np.savez: its keyword arguments are the arrays' names, and an output may be called `file`.
        with ZipFile(file, "w") as archive:
            for name, array in results.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, _storable(array), allow_pickle=False)


def _storable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    if array.dtype.name in ("int4", "uint4"):
        return array.astype(np.int8)
    return array.astype(np.float32) if array.dtype.kind == "V" else array
