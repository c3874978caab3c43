"""`trtn git`: what git needs to show and merge a network's files well."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated

import typer

from trtn.cli.console import Console
from trtn.cli.failures import EnvironmentProblem, Exit
from trtn.cli.options import Quiet, epilog, verb
from trtn.cli.tables import plural

__all__ = ["ATTRIBUTES", "SETTINGS", "app"]

app = verb()

SETTINGS = {
    "diff.trtn.xfuncname": r"^((network|block|profile|target|plugin|manifest)[ \t].*)$",
    "diff.trtn-engine.textconv": "trtn inspect",
    "diff.trtn-engine.cachetextconv": "true",
    "diff.trtn-onnx.textconv": "trtn import onnx -o -",
    "diff.trtn-onnx.cachetextconv": "true",
    "merge.trtn-lock.name": "lock files of trtn, a line a fact",
    "merge.trtn-lock.driver": "trtn git merge-lock %O %A %B %P",
}
"""What goes to git's configuration."""
ATTRIBUTES = (
    "*.trtn diff=trtn",
    "*.engine diff=trtn-engine -text",
    "*.onnx diff=trtn-onnx -text",
    "*.lock merge=trtn-lock",
)
"""What goes to .gitattributes."""


@app.callback(epilog=epilog("trtn git install", one="merge-lock: both sides changed one fact"))
def git() -> None:
    """Let git show networks, engines and ONNX models as text, and merge lock files."""


@app.command(
    epilog=epilog(
        "trtn git install             # this repository",
        "trtn git install --global    # every repository of this user; .gitattributes stays yours to write",
        "git diff HEAD~1 -- model.onnx",
        one="never",
    )
)
def install(
    everywhere: Annotated[bool, typer.Option("--global", help="For every repository of this user.")] = False,
    quiet: Quiet = False,
) -> None:
    """Set up git: hunk headers that name the network or block, text diffs of engines and ONNX models, lock merging.

    Writes git's configuration and adds lines to `.gitattributes`, which is to be committed. May be run again.
    """
    with Console(quiet=quiet) as console:
        scope = "--global" if everywhere else "--local"
        for name, value in SETTINGS.items():
            _git("config", scope, name, value)
        if everywhere:
            console.status("git is set up for this user; put these lines into each repository's .gitattributes:")
            console.result("\n".join(ATTRIBUTES))
            return
        path = Path(_git("rev-parse", "--show-toplevel").strip()) / ".gitattributes"
        added = _add_lines(path)
        console.status(f"git is set up for this repository; {path.name}: {added} lines added")


@app.command(
    "merge-lock",
    epilog=epilog("trtn git merge-lock BASE OURS THEIRS PATH    # git runs this", one="both sides changed one fact"),
)
def merge_lock(
    base: Annotated[str, typer.Argument(metavar="BASE", help="The common ancestor's file.")],
    ours: Annotated[str, typer.Argument(metavar="OURS", help="Our file; the result is written here.")],
    theirs: Annotated[str, typer.Argument(metavar="THEIRS", help="Their file.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="What the file is called.")] = "",
) -> None:
    """Merge lock files: the driver that git calls.

    A fact that one side added, changed or removed is taken from that side. Where both changed it, both lines stay,
    between conflict markers. Files that are not locks of trtn are merged as text.
    """
    from trtn.backend.tuner.lock_merge import is_lock, merge_locks

    texts = [Path(p).read_text(encoding="utf-8", errors="surrogateescape") for p in (base, ours, theirs)]
    if not all(map(is_lock, texts)):
        done = subprocess.run(["git", "merge-file", ours, base, theirs], check=False)
        raise typer.Exit(Exit.FINDINGS if done.returncode else Exit.FINE)
    merged, conflicts = merge_locks(*texts)
    Path(ours).write_text(merged, encoding="utf-8", errors="surrogateescape")
    if conflicts:
        typer.echo(f"{path or ours}: {plural(conflicts, 'fact')} changed on both sides", err=True)
        raise typer.Exit(Exit.FINDINGS)


def _add_lines(path: Path) -> int:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    missing = [line for line in ATTRIBUTES if line not in text.splitlines()]
    if missing:
        start = text if not text or text.endswith("\n") else f"{text}\n"
        path.write_text(start + "\n".join(missing) + "\n", encoding="utf-8")
    return len(missing)


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except OSError as e:
        raise EnvironmentProblem(f"git can't be run: {e.strerror}") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"git {arguments[0]} failed"]
        raise EnvironmentProblem(lines[-1].removeprefix("fatal: "))
    return done.stdout
