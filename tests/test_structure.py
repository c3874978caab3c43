"""The rules of the house that a reader can't see in one file: who imports whom, and what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import trtn
from trtn.backend.providers import discover, find_provider

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "trtn": ROOT / "trtn",
    "trtn.dsl": ROOT / "dsl",
    "trtn.grammar": ROOT / "grammar",
    "trtn.backend": ROOT / "backend",
}
HEAVY = {
    "numpy",
    "onnx",
    "lark",
    "typer",
    "rich",
    "click",
    "cupy",
    "safetensors",
    "ml_dtypes",
    "onnxruntime",
    "cudnn",
    "google",
}
OPTIONAL = {"cupy", "cudnn", "onnxruntime", "magika", "torch"}


@cache
def modules() -> dict[str, Path]:
    """Every module of the product by its name."""
    found: dict[str, Path] = {}
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *(parts[:-1] if parts[-1] == "__init__" else parts)))] = path
    return found


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


def at_module_level(node: ast.AST) -> Iterator[ast.AST]:
    """What runs on import: no bodies of functions, nothing that only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from at_module_level(child)


def imported(name: str, nodes: Iterator[ast.AST]) -> set[str]:
    """The modules that import statements name; of `from package import module` the module."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            assert node.module is not None
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {full for full in inner if full in modules()}
            if inner - modules().keys():
                found.add(node.module)
    return found


@cache
def everything(name: str) -> set[str]:
    return imported(name, ast.walk(tree(name)))


def is_front_door(name: str) -> bool:
    return name == "trtn" or (
        name.startswith("trtn.")
        and not name.startswith(tuple(f"{p}." for p in FOLDERS if p != "trtn"))
        and name not in FOLDERS
    )


def test_the_language_knows_no_backend_and_nobody_the_front_door() -> None:
    wrong = []
    for name in modules():
        if is_front_door(name):
            continue
        wrong += [f"{name} imports {other}" for other in everything(name) if is_front_door(other)]
        if not name.startswith("trtn.backend"):
            wrong += [f"{name} imports {other}" for other in everything(name) if other.startswith("trtn.backend")]
    assert not wrong


def test_modules_import_each_other_in_no_circle() -> None:
    graph = {name: imported(name, at_module_level(tree(name))) & modules().keys() - {name} for name in modules()}
    done: set[str] = set()
    path: list[str] = []

    def visit(name: str) -> None:
        assert name not in path, f"a circle of imports: {' -> '.join([*path[path.index(name) :], name])}"
        if name in done:
            return
        path.append(name)
        for other in sorted(graph[name]):
            visit(other)
        path.pop()
        done.add(name)

    for name in sorted(graph):
        visit(name)
    assert done == modules().keys()
    assert sum(map(len, graph.values())) > len(graph)  # the imports were found


def test_the_import_is_light() -> None:
    """`import trtn` loads nothing of other people's, and loading a network no NumPy either until there is a
    need.
    """
    code = "import sys, trtn; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "trtn" in loaded
    assert not loaded & HEAVY


def test_optional_packages_are_imported_where_they_are_used() -> None:
    for name in modules():
        heads = {other.split(".")[0] for other in imported(name, at_module_level(tree(name)))}
        assert not heads & OPTIONAL, name


def test_what_is_offered_is_there() -> None:
    for name in trtn.__all__:
        assert getattr(trtn, name) is not None
    assert set(trtn.__all__) == set(dir(trtn))


def test_every_module_states_what_it_offers() -> None:
    for name, path in modules().items():
        body = tree(name).body
        assert ast.get_docstring(tree(name)), f"{name} has no docstring"
        if (path.name in ("__init__.py", "__main__.py") and len(body) == 1) or name.endswith("__main__"):
            continue
        assert any(ast.unparse(n).startswith("__all__") for n in body), f"{name} has no __all__"


def test_files_can_be_read_in_one_sitting() -> None:
    assert not [name for name, path in modules().items() if path.read_text(encoding="utf-8").count("\n") > 500]


def test_providers_are_named_by_themselves_alone() -> None:
    """A new provider touches no other file: nobody asks for one by name."""
    names = {p.name for p in discover()}
    assert names
    # `reference` is a kind of group, too
    kinds = {"trtn.backend.fusion.partition", "trtn.backend.plan.layout", "trtn.backend.runtime.engine"}
    for name in modules():
        if name.startswith("trtn.backend.providers"):
            continue
        reached = {other for other in everything(name) if other.startswith("trtn.backend.providers.")}
        assert reached <= {"trtn.backend.providers.base"}, name
        texts = {n.value for n in ast.walk(tree(name)) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        assert not texts & (names - ({"reference"} if name in kinds else set())), name


def test_providers_are_found_by_their_names_without_the_others() -> None:
    assert all(find_provider(p.name) is p for p in discover())
    assert find_provider("base") is None and find_provider("../onednn") is None


def test_the_package_list_is_complete() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = setup["tool"]["setuptools"]["packages"]
    packages = {name for name, path in modules().items() if path.name == "__init__.py"}
    assert set(listed) == packages
    assert listed == sorted(listed)
    assert setup["project"]["version"] == trtn.__version__
    folders = {path.parent for path in modules().values()}
    assert {modules()[name].parent for name in packages} == folders, "a folder of modules without __init__.py"


def test_nothing_of_the_machine_is_in_the_code() -> None:
    for name, path in modules().items():
        text = path.read_text(encoding="utf-8")
        assert "/work/" not in text, name
        assert "TODO" not in text, name
        assert "FIXME" not in text, name
