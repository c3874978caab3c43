"""`trtn build`: a spec's network as an engine."""

from __future__ import annotations

import os
import re
import time
from typing import Annotated

import typer

from trtn.cli.console import Console
from trtn.cli.failures import usage_error
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
from trtn.cli.tables import bytes_text, duration, plural
from trtn.cli.targets import Building, TargetOption, file_of, only_target

__all__ = ["app"]

app = verb()

_SIZE = re.compile(r"(\d+)\s*(|[KMGT]i?B|B)")
_UNITS = {"K": 1, "M": 2, "G": 3, "T": 4}


@app.command(
    epilog=epilog(
        "trtn build resnet50.trtn -o resnet50.engine",
        "trtn build bert.trtn --target h200              # device, profiles, output as the target says",
        "trtn build bert.trtn --target h200 --locked     # for CI: tactics from the lock file, nothing timed",
        one="the spec has findings, weights differ from their hashes, or (--locked) something from the lock",
    )
)
@grouped
def build(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="The spec, or `-`.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="ENGINE", help="The engine to write. Default: as the target says."),
    ] = None,
    network: NetworkOption = None,
    target: TargetOption = None,
    lock: Annotated[
        str | None, typer.Option("--lock", metavar="FILE", help="The lock file, read and written anew.")
    ] = None,
    locked: Annotated[
        bool,
        typer.Option(
            "--locked",
            help="Only read the lock file; what it lacks, and imports and manifests that differ from it, are errors.",
        ),
    ] = False,
    workspace: Annotated[
        str | None,
        typer.Option("--workspace", metavar="SIZE", help="Most scratch memory that a step may take: `512MiB`."),
    ] = None,
    tf32: Annotated[
        bool, typer.Option("--tf32", help="Let f32 products be computed in TF32 on tensor cores: 10 bits of mantissa.")
    ] = False,
    kernels: Annotated[
        bool,
        typer.Option("--kernels", help="Put compiled kernels into the engine; it loads fast where it is trusted."),
    ] = False,
    *,
    building: Building,
    reporting: Reporting,
    reading: Reading,
) -> None:
    """Build an engine from a spec.

    Options win over what the target says. The old engine stays until the new one is complete. Times of tactics are kept
    in the user's cache folder ($TRTN_CACHE; `off` for none) and used by later builds.
    """
    limit = _bytes(workspace) if workspace is not None else None
    with Console.of(reporting) as console:
        net, chosen = load_spec(
            console,
            spec,
            network=network,
            target=target,
            reading=reading,
        )
        chosen = chosen or only_target(net, building.device)
        named = reading.stdin_filename or "" if spec == "-" else spec
        path = output or file_of(chosen, "output", named)
        if path is None:
            raise usage_error("no output file: neither given nor named by a target", "--output")
        if output is None:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        check_writable(path)
        lock = lock or file_of(chosen, "lock", named)

        from trtn.backend.build import build

        begin = time.perf_counter()
        with ProgressBar(console, f"building {net.name}") as progress:
            engine = build(
                net,
                **building.arguments(chosen),
                lock=lock,
                locked=locked,
                workspace=limit if limit is not None else (chosen.workspace if chosen is not None else None),
                tf32=tf32,
                progress=progress,
                diagnose=lambda warning: console.found([warning]),
            )
            engine.save(path, kernels=kernels)
        took = duration(time.perf_counter() - begin)
        steps, size = plural(len(engine.groups), "step"), bytes_text(os.path.getsize(path))
        console.status(f"{path}: engine {engine.name}, {steps} on {engine.device}, {size}, built in {took}")


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise usage_error(f"`{text}` is not a size like `512MiB` or `4GB`", "--workspace")
    unit: str = match[2]
    scale: int = (1024 if "i" in unit else 1000) ** _UNITS.get(unit[:1], 0)
    return int(match[1]) * scale
