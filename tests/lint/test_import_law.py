"""Which part of the package may import which (docs/architecture.md); imports within functions count too."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from files import REPOSITORY

UTILS = REPOSITORY / "_utils"
PACKAGE = UTILS / "superpod_dcgm"
# part: (parts that it may import besides itself, whether it may import more than Python's standard library)
LAW = {
    "base": (set(), False),
    "monitoring": ({"base"}, True),
    "agent": ({"base"}, False),
    "exporter": ({"base"}, True),
    "slurm": ({"base"}, True),
    "watcher": ({"base"}, True),
    "config": ({"base", "exporter", "monitoring"}, True),
    "fleet": ({"base", "config", "watcher"}, True),
}


def imports(text: str) -> list[str]:
    """Return every module that a file imports, wherever the statement stands, as ``superpod_dcgm.part.module``."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # What stands behind a relative import is never ours to guess: it is shown as it is.
            module = "." * node.level + (node.module or "")
            found += [f"{module}.{alias.name}" for alias in node.names]
    return found


def breaches(part: str, text: str) -> list[str]:
    allowed, others = LAW[part]
    found = []
    for module in imports(text):
        root, *rest = module.split(".")
        if root == "superpod_dcgm":
            if not rest or rest[0] not in {part, *allowed}:
                found.append(f"{part} must not import {module}")
        elif root != "__future__" and not others and root not in sys.stdlib_module_names:
            found.append(f"{part} must not import {module}: it has the standard library only")
    return found


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules that import themselves by way of others."""

    def reachable(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += graph.get(name, ())
        return seen

    return sorted(name for name in graph if name in reachable(name))


def modules() -> dict[str, Path]:
    return {".".join(path.relative_to(UTILS).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}


def test_every_part_has_a_law() -> None:
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"} == LAW.keys()


@pytest.mark.parametrize("part", LAW)
def test_no_part_imports_what_it_must_not(part: str) -> None:
    paths = (PACKAGE / part).glob("*.py")
    assert [f"{path.name}: {found}" for path in paths for found in breaches(part, path.read_text())] == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    known = modules()
    graph = {
        name: {
            target
            for module in imports(path.read_text())
            # `from part import module` and `from part.module import name` are both a way to the module.
            for target in (module, module.rpartition(".")[0])
            if target in known
        }
        for name, path in known.items()
    }
    assert circles(graph) == []


BROKEN = {
    "another part": ("exporter", "from superpod_dcgm.slurm import wiring\n"),
    "within a function": ("agent", "def f():\n    from superpod_dcgm.watcher import poll\n"),
    "the other way up": ("watcher", "import superpod_dcgm.fleet.report\n"),
    "a relative way": ("base", "from ..agent import log\n"),
    "the whole package": ("exporter", "import superpod_dcgm\n"),
    "a library": ("agent", "import requests\n"),
    "Salt": ("base", "def f():\n    import salt.client\n"),
}


@pytest.mark.parametrize(("part", "text"), BROKEN.values(), ids=BROKEN.keys())
def test_the_law_finds_what_breaks_it(part: str, text: str) -> None:
    assert len(breaches(part, text)) == 1


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c"]


def test_every_init_of_the_package_is_one_docstring() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        body = ast.parse(path.read_text()).body
        assert len(body) == 1 and ast.get_docstring(ast.parse(path.read_text())), path


def test_all_python_files_have_postponed_annotations() -> None:
    paths = [
        path
        for folder in ("_modules", "_states", "_runners", "_engines", "_grains", "_output")
        for path in (REPOSITORY / folder).glob("*.py")
    ]
    paths += [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    assert [path.name for path in paths if "from __future__ import annotations" not in path.read_text()] == []
