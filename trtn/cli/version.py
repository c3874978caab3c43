"""`trtn version`: versions of trtn and of what it works with."""

from __future__ import annotations

from trtn.cli.console import Console
from trtn.cli.options import DocumentFormat, DocumentOption, epilog, verb

__all__ = ["app"]

app = verb()


@app.command(epilog=epilog("trtn version", "trtn version --format json", one="not used here"))
def version(format: DocumentOption = DocumentFormat.HUMAN) -> None:  # noqa: A002
    """Print the versions of trtn, Python and the packages that trtn works with.

    Packages are looked up, not imported: nothing is loaded, no GPU is touched.
    """
    with Console(format) as console:
        import platform

        from trtn import __version__
        from trtn.cli.bug_report import installed
        from trtn.cli.tables import rows

        versions = {"python": platform.python_version(), **{n: v for n, v in installed().items() if n != "trtn"}}
        console.result(
            "\n".join([f"trtn {__version__} on {platform.system()} {platform.machine()}", *rows(versions.items())])
        )
        console.document(
            {"format_version": "1.0", "trtn": __version__, "platform": platform.platform(), "packages": versions}
        )
