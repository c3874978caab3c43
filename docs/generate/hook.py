"""Adds the generated pages when mkdocs builds the site; none of them is ever on the disk among the sources."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # mkdocs loads this file by its path

from docs.generate.pages import generated_pages  # noqa: E402
from docs.generate.python_api import python_page  # noqa: E402


def on_config(config: Any) -> Any:
    """Put the generated pages of a folder in the place of `folder/` in the navigation."""
    pages = generated_pages()
    config.nav = [_expanded(item, list(pages)) for item in config.nav]
    config.extra["generated"] = pages
    return config


def on_files(files: Files, config: Any) -> Files:
    for path, text in config.extra["generated"].items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """The Python API's reference goes behind what is written about it."""
    return python_page(markdown) if page.file.src_uri == "python.md" else markdown


def _expanded(item: Any, paths: list[str]) -> Any:
    if isinstance(item, dict):
        return {title: _expanded(value, paths) for title, value in item.items()}
    if isinstance(item, list):
        return [_expanded(value, paths) for value in item]
    return [p for p in paths if p.startswith(item)] if item.endswith("/") else item
