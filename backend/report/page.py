"""A plan as one HTML file that needs nothing else: the graph, the panel, memory over the steps."""

from __future__ import annotations

import json
import re
from html import escape
from importlib.resources import files

from trtn.backend.report.model import Plan

__all__ = ["page"]

SCRIPTS = ("tree", "layout", "colours", "draw", "memory", "panel", "main")


def page(plan: Plan) -> str:
    """The page. What the plan says is data in it, never markup."""
    parts = {
        "title": escape(f"{plan.network} for {plan.device}"),
        "style": _asset("page.css"),
        "plan": _embedded(plan),
        "script": "\n".join(_asset(f"{name}.js") for name in SCRIPTS),
    }
    return re.sub(r"{{(\w+)}}", lambda match: parts[match[1]], _asset("page.html"))


def _embedded(plan: Plan) -> str:
    """JSON that can't end the element it stands in."""
    text = json.dumps(plan.to_json(), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return (files("trtn.backend.report") / "assets" / name).read_text(encoding="utf-8")
