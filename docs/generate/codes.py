"""The pages of diagnostics: a page for each block of codes, and one of the rules that review a change."""

from __future__ import annotations

from docs.generate.markdown import cell, prose, table
from trtn.dsl.diagnostics import CODES
from trtn.dsl.diagnostics.codes import Code
from trtn.dsl.lint import RULES as LINT
from trtn.dsl.review.breaking import RULES as BREAKING

__all__ = ["code_pages", "rules_page"]

BLOCKS = {
    "E01": ("text", "Text"),
    "E02": ("names", "Names"),
    "E03": ("types", "Types and shapes"),
    "E04": ("dims", "Dims and profiles"),
    "E05": ("weights", "Weights"),
    "E06": ("plugins", "Plugins"),
    "E07": ("engines", "Builds and engines"),
    "E08": ("foreign", "Foreign models"),
    "E09": ("comparisons", "Comparisons"),
    "L": ("lint", "Lint"),
    "W": ("warnings", "Warnings"),
}

ALLOWING = (
    "A line may allow a rule, by a comment on it or alone on the line above: `# trtn: allow(L0101)`, "
    "`# trtn: allow(PROFILE_RANGE_NO_SHRINK)`. `--ignore RULE` leaves one out of a run."
)
CLASSES = (
    "Each rule says what stays true. SOURCE rules are about specs that import blocks, ENGINE rules about programs that "
    "feed engines and builds that name targets, NUMERIC rules about the numbers."
)


def code_pages() -> dict[str, str]:
    rest = set(CODES)
    pages: dict[str, str] = {}
    rows = []
    for start, (name, title) in BLOCKS.items():
        codes = [c for c in CODES if c.startswith(start)]
        rest -= set(codes)
        if codes:
            pages[f"codes/{name}.md"] = "\n".join([f"# {title}", "", *(_entry(c, CODES[c]) for c in codes)])
            rows += [(f"[{c}]({name}.md#{c.lower()})", cell(prose(CODES[c].title))) for c in codes]
    assert not rest, f"codes of no block: {sorted(rest)}"
    intro = "`trtn explain CODE` prints the same. An example is a whole file that gives the code, or a command line."
    return {"codes/index.md": "\n".join(["# Diagnostics", "", intro, "", *table(("code", "what"), rows)]), **pages}


def rules_page() -> str:
    lint = [(f"[{r.code}](codes/lint.md#{r.code.lower()})", f"`{r.name}`", cell(prose(r.about))) for r in LINT.values()]
    breaking = [(f"`{r.name}`", r.kind.value, cell(prose(r.about))) for r in BREAKING.values()]
    return "\n".join(
        [
            "# Rules",
            "",
            ALLOWING,
            "",
            "## trtn lint",
            "",
            *table(("code", "rule", "what it finds"), lint),
            "",
            "## trtn breaking",
            "",
            CLASSES,
            "",
            *table(("rule", "class", "what it keeps"), breaking),
        ]
    )


def _entry(code: str, page: Code) -> str:
    language = "console" if page.example.startswith("$ ") else "trtn"
    return "\n".join(
        [
            f"## {code}",
            "",
            f"**{prose(page.title)}.** {prose(page.cause)}",
            "",
            f"```{language}",
            page.example,
            "```",
            "",
            f"**Cure.** {prose(page.cure)}",
            "",
        ]
    )
