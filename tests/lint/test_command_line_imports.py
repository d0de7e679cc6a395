"""The modules of the command line import each other in one direction only."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from files import REPOSITORY

PACKAGE = "superpod"


def modules(root: Path) -> dict[str, Path]:
    """Return the modules below a folder by their dotted names."""
    found = {".".join(path.relative_to(root.parent).with_suffix("").parts): path for path in root.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in found.items()}


def imported(tree: ast.AST, known: set[str]) -> set[str]:
    """Return which of the known modules are imported anywhere, also within functions and for type checking."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what is imported"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module or "" for name in inner}
    return found & known


def circle(root: Path) -> list[str]:
    """Return the modules of an import circle, or nothing."""
    paths = modules(root)
    arrows = {name: imported(ast.parse(path.read_text()), set(paths)) for name, path in paths.items()}
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_over_others() -> None:
    assert len(modules(REPOSITORY / PACKAGE)) > 10
    assert circle(REPOSITORY / PACKAGE) == []


@pytest.mark.parametrize(
    "text",
    [
        "from p.q import a\n",
        "import p.q.a\n",
        "from p.q.a import f\n",
        "def f():\n    from p.q import a\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.q.a import f\n",
    ],
)
def test_a_planted_circle_is_found(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "p/q"
    folder.mkdir(parents=True)
    for name, content in {"__init__": "", "a": "from p.q import b\n", "b": "from p.q.c import f\n", "c": text}.items():
        (folder / f"{name}.py").write_text(content)
    assert set(circle(tmp_path / "p")) == {"p.q.a", "p.q.b", "p.q.c"}
