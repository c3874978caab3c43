"""`trtn plan`: what a build would do, found out without a device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtn.cli.console import Console
from trtn.cli.failures import usage_error
from trtn.cli.files import check_writable, replace_text
from trtn.cli.grouped import grouped
from trtn.cli.options import NetworkOption, Printing, Reading, epilog, verb
from trtn.cli.specs import load_spec
from trtn.cli.targets import Building, TargetOption, file_of, only_target

__all__ = ["app"]

app = verb()


@app.command(
    epilog=epilog(
        "trtn plan resnet50.trtn",
        "trtn plan bert.trtn --target h200               # here, without that GPU",
        "trtn plan bert.trtn --step layer[0].x.f.h       # all about one step",
        "trtn plan bert.trtn --target h200 --html plan.html",
        "trtn plan bert.trtn --against bert.engine       # what a build would change",
        "trtn plan bert.trtn --times times.json --html plan.html    # with times that were measured",
        "trtn plan bert.trtn --target h200 --locked      # is the lock complete?",
        one="the spec has findings, or a locked build would miss an entry",
    )
)
@grouped
def plan(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="The spec, or `-`.")],
    network: NetworkOption = None,
    target: TargetOption = None,
    lock: Annotated[str | None, typer.Option("--lock", metavar="FILE", help="The lock file, only read.")] = None,
    locked: Annotated[bool, typer.Option("--locked", help="A problem that the lock lacks is an error.")] = False,
    against: Annotated[
        str | None, typer.Option("--against", metavar="ENGINE", help="Say what would change of this engine.")
    ] = None,
    times: Annotated[
        str | None,
        typer.Option("--times", metavar="FILE", help="Show times that `trtn bench ENGINE --profile-out FILE` wrote."),
    ] = None,
    step: Annotated[
        str | None, typer.Option("--step", metavar="NAME", help="Show all about the step with this layer, only.")
    ] = None,
    steps: Annotated[bool, typer.Option("--steps/--no-steps", help="Whether to list every step.")] = True,
    html: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="Write a page to look around in: one file, no network.")
    ] = None,
    *,
    building: Building,
    printing: Printing,
    reading: Reading,
) -> None:
    """Show what a build would do: groups, precision, providers, tactics, memory. Nothing is timed, compiled or run.

    Groups come with the lines that they are from, and with the reasons why neighbours stayed out and providers refused.
    A provider may still decline the sizes of a problem when the build asks it for tactics. Weights are read where
    passes compute with them. Options win over what the target says.

    JSON: format_version, network, digest, target, device, precision, effort, libraries, tensors, layers, groups (kind,
    layers, role, providers, refusals, decisions at each of points), apart (why groups are not one), buffers, profiles
    (memory: arena, lower_bound, live bytes a step, offsets), problems, lock, times, against.
    """
    if html is not None:
        check_writable(html, "--html")
    with Console.of(printing) as console:
        net, chosen = load_spec(console, spec, network=network, target=target, reading=reading)
        chosen = chosen or only_target(net, building.device)
        lock = lock or file_of(chosen, "lock", reading.stdin_filename or "" if spec == "-" else spec)

        from trtn.backend.report import plan_build
        from trtn.backend.runtime.profiler import read_profile
        from trtn.cli.engines import load

        made = plan_build(
            net,
            **building.arguments(chosen),
            lock=lock,
            locked=locked,
            profile=read_profile(times) if times is not None else None,
            against=load(against) if against is not None else None,
        )
        if html is not None:
            from trtn.backend.report.page import page

            replace_text(Path(html), page(made))
            console.status(f"{html}: {len(made.groups):,} steps of {made.network} for {made.device}")

        from trtn.cli.plan_text import describe_group, describe_plan, find_group

        if step is not None:
            found = find_group(made, step)
            if isinstance(found, list):
                near = f"; near it: {', '.join(f'`{name}`' for name in found)}" if found else ""
                raise usage_error(f"no layer is called `{step}` after the passes{near}", "--step")
            console.result("\n".join(describe_group(made, found)))
        elif html is None:
            console.result("\n".join(describe_plan(made, groups=steps)))
        console.document(made.to_json())
