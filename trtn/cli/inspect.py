"""`trtn inspect`: what an engine holds. The engine is read, not run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trtn.cli.console import Console
from trtn.cli.engines import load
from trtn.cli.options import Color, ColorOption, DocumentFormat, DocumentOption, epilog, verb
from trtn.cli.tables import bytes_text, plural, rows

if TYPE_CHECKING:
    from trtn.backend.runtime import Choice, Engine, IOTensor

__all__ = ["app"]

app = verb()

_CORNERS = ("minimum", "optimum", "maximum")


@app.command(
    epilog=epilog(
        "trtn inspect resnet50.engine",
        "trtn inspect resnet50.engine --no-steps",
        "trtn inspect resnet50.engine --format json | jq '.profiles[].memory'",
        one="the engine is damaged or of another format version",
    )
)
def inspect(
    engine: Annotated[str, typer.Argument(metavar="ENGINE", help="The engine file, or `-`.")],
    steps: Annotated[bool, typer.Option("--steps/--no-steps", help="Whether to list every step.")] = True,
    format: DocumentOption = DocumentFormat.HUMAN,  # noqa: A002
    color: ColorOption = Color.AUTO,
) -> None:
    """Show an engine's inputs and outputs, profiles, memory, weights and steps.

    JSON: format_version, engine, doc, device, provenance, inputs, outputs (name, dtype, shape), profiles (name, dims,
    values, memory), weights (tensors, bytes, by_dtype), kernels (compiled ones: library, target, count, bytes), trusted
    (whether they are used), steps (name, kind, ops, outputs, source, provider, tactic).
    Memory: bytes of the arena at max, and the lower bound that no arena can be under; null where a size is known only
    when data is there.
    """
    with Console(format, color=color) as console:
        loaded = load(engine)
        report = _report(loaded)
        if not steps:
            del report["steps"]
        console.result("\n".join(_human(report)))
        console.document(report)


def _report(engine: Engine) -> dict[str, Any]:
    weights = [t.weight for t in engine.weights if t.weight is not None]
    by_dtype: dict[str, int] = {}
    for w in weights:
        by_dtype[w.dtype.name] = by_dtype.get(w.dtype.name, 0) + w.nbytes
    return {
        "format_version": "1.0",
        "engine": engine.name,
        "doc": engine.network.doc,
        "device": engine.device,
        "provenance": engine.provenance,
        "inputs": [_io(t) for t in engine.inputs],
        "outputs": [_io(t) for t in engine.outputs],
        "profiles": [_profile(engine, n) for n in range(len(engine.profiles))],
        "weights": {"tensors": len(weights), "bytes": sum(by_dtype.values()), "by_dtype": by_dtype},
        "kernels": _kernels(engine),
        "trusted": engine.trusted,
        "steps": [_step(group, choice) for group, choice in zip(engine.groups, engine.choices, strict=True)],
    }


def _kernels(engine: Engine) -> list[dict[str, Any]]:
    """The file's compiled kernels by what compiled them and for what."""
    sizes: dict[tuple[str, str], list[int]] = {}
    for key, piece in engine.compiled.items():
        sizes.setdefault((key.library, key.target), []).append(len(piece))
    return [
        {"library": library, "target": target, "count": len(each), "bytes": sum(each)}
        for (library, target), each in sizes.items()
    ]


def _io(tensor: IOTensor) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}


def _profile(engine: Engine, number: int) -> dict[str, Any]:
    profile = engine.profiles[number]
    try:
        arena = engine.arena(profile.corner("maximum"))
        memory: dict[str, int | None] = {"arena": arena.nbytes, "lower_bound": arena.lower_bound}
    except ValueError:  # a size that only the data decides
        memory = {"arena": None, "lower_bound": None}
    return {
        "name": profile.name,
        "dims": {name: [getattr(r, c) for c in _CORNERS] for name, r in profile.dims.items()},
        "values": {
            name: [[getattr(r, c) for r in ranges] for c in _CORNERS] for name, ranges in profile.values.items()
        },
        "memory": memory,
    }


def _step(group: Any, choice: Choice) -> dict[str, Any]:
    sources = [
        str(layer.origin.span or layer.origin.source)
        for layer in group.layers
        if layer.origin.span or layer.origin.source
    ]
    return {
        "name": group.name,
        "kind": group.kind,
        "ops": [layer.op.name for layer in group.layers],
        "outputs": [str(t.type) for t in group.outputs],
        "source": list(dict.fromkeys(sources)),
        "provider": choice.provider,
        "tactic": choice.tactic,
    }


# --- for people ----------------------------------------------------------------------------------------------------


def _human(report: Mapping[str, Any]) -> Iterator[str]:
    doc = f": {report['doc']}" if report["doc"] else ""
    yield f"engine {report['engine']} for {report['device']}{doc}"
    provenance = report["provenance"]
    tools = ", ".join(f"{name} {number}" for name, number in provenance.get("tools", {}).items())
    yield from rows(
        [
            ["network", str(provenance.get("network", "unknown"))],
            *([["lock", str(provenance["lock"])]] if "lock" in provenance else []),
            ["built with", tools or "unknown"],
        ]
    )
    for heading in ("inputs", "outputs"):
        yield f"\n{heading}"
        yield from rows([t["name"], _type(t)] for t in report[heading])
    yield "\nprofiles"
    yield from _profiles(report["profiles"])
    weights = report["weights"]
    kinds = ", ".join(f"{dtype} {bytes_text(size)}" for dtype, size in weights["by_dtype"].items())
    total = f"{plural(weights['tensors'], 'tensor')}, {bytes_text(weights['bytes'])}"
    yield f"\nweights\n  {total}{f' ({kinds})' if kinds else ''}"
    if report["kernels"]:
        used = "used" if report["trusted"] else "not used, as the file is not trusted"
        yield f"\ncompiled kernels ({used})"
        yield from rows(
            [
                [k["library"], f"for {k['target']}", f"{k['count']:,}", bytes_text(k["bytes"])]
                for k in report["kernels"]
            ],
            right=(2, 3),
        )
    if "steps" in report:
        yield f"\nsteps ({len(report['steps']):,})"
        yield from _steps(report["steps"])


def _type(tensor: Mapping[str, Any]) -> str:
    return f"{tensor['dtype']}[{', '.join(map(str, tensor['shape']))}]"


def _profiles(profiles: Sequence[Mapping[str, Any]]) -> list[str]:
    table = [["profile", "dim", "min", "opt", "max"]]
    for p in profiles:
        entries = [*p["dims"].items(), *p["values"].items()] or [("", ("", "", ""))]
        for n, (name, corners) in enumerate(entries):
            table.append(
                [p["name"] if n == 0 else "", name, *(f"{c:,}" if isinstance(c, int) else str(c) for c in corners)]
            )
    lines = rows(table, right=(2, 3, 4))
    memory = [["memory at max", "arena", "lower bound", "over"]]
    for p in profiles:
        arena, bound = p["memory"]["arena"], p["memory"]["lower_bound"]
        if arena is None:
            memory.append([p["name"], "depends on the data"])
        else:
            over = f"{100 * (arena - bound) / bound:.1f} %" if bound else "0.0 %"
            memory.append([p["name"], bytes_text(arena), bytes_text(bound), over])
    return [*lines, "", *rows(memory, right=(1, 2, 3))]


def _steps(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    table = [["#", "step", "ops", "result", "provider", "tactic", "source"]]
    for n, s in enumerate(steps, 1):
        table.append(
            [
                str(n),
                s["name"],
                " + ".join(s["ops"]),
                ", ".join(s["outputs"]),
                s["provider"],
                s["tactic"],
                _lines(s["source"]),
            ]
        )
    return rows(table, right=(0,))


def _lines(sources: Sequence[str]) -> str:
    """`a.trtn:10, 11` for `a.trtn:10` and `a.trtn:11`."""
    texts: list[str] = []
    last = ""
    for source in sources:
        file, colon, line = source.rpartition(":")
        texts.append(line if colon and file == last else source)
        last = file
    return ", ".join(texts)
