"""All generated pages: their paths below `docs/`, and their text."""

from __future__ import annotations

import re
from pathlib import Path

from docs.generate.codes import code_pages, rules_page
from docs.generate.ops import op_pages
from docs.generate.verbs import verb_pages

__all__ = ["generated_pages"]

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\]\((?!https?:|#)([^)\s]+)\)")


def generated_pages() -> dict[str, str]:
    """Pages by path, in the order of the navigation."""
    return {
        **op_pages(),
        **code_pages(),
        "rules.md": rules_page(),
        **verb_pages(),
        "changelog.md": _from_root("CHANGELOG.md"),
        "contributing.md": _from_root("CONTRIBUTING.md"),
    }


def _from_root(name: str) -> str:
    """A page of the repository's top level, its links to `docs/` as seen from there."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return _LINK.sub(lambda m: f"]({m[1].removeprefix('docs/')})", text)
