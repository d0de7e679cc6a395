"""The project's own rules: what the usual checkers do not know."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import PurePath

import pytest
from files import FILES, PYTHON, REPOSITORY, SHELL, STATES, interpreter, name

MODE = re.compile(r"^\s*-?\s*(?:file_|dir_)?mode:\s*(\S+)", re.MULTILINE)
OPENING = {".py": '"""', ".sls": "# ", ".yaml": "# ", ".yml": "# ", ".jinja": ("# ", "{#")}
# Longest a file may be, by suffix; tests hold tables, and the example pillar every key.
LINES = {".sls": 60, ".jinja": 60, ".py": 300, ".sh": 300}
OURS = ("_utils/", "_modules/", "_states/", "_runners/", "_engines/", "_grains/")
ANY_LENGTH = ("tests/", "pillar/")


def too_long(path: str, text: str) -> list[str]:
    limit = LINES.get(PurePath(path).suffix)
    lines = len(text.splitlines())
    return [f"{lines} lines, more than {limit}"] if limit and lines > limit and not path.startswith(ANY_LENGTH) else []


def long_functions(path: str, text: str) -> list[str]:
    if not path.endswith(".py"):
        return []
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    # A docstring with all parameters and an example does not make a function hard to read.
    docstrings = {node.name: len((ast.get_docstring(node, clean=False) or "").splitlines()) for node in functions}
    long = [node for node in functions if (node.end_lineno or 0) - node.lineno - docstrings[node.name] >= 50]
    return [f"{node.name} has more than 50 lines" for node in long]


def without_purpose(path: str, text: str) -> list[str]:
    """The first line, or the first after #!, says what the file is for; in a Python docstring the second may."""
    program = interpreter(text)
    lines = [line for line in text.splitlines()[1 if program else 0 :] if line.strip()]
    opening = ("# ", '"""') if program else OPENING.get(PurePath(path).suffix, "")
    first = " ".join(lines[:2]) if lines and lines[0] == '"""' else (lines or [""])[0]
    return [] if first.startswith(opening) and len(first) > 12 else [f"opens with {first!r}, which says no purpose"]


def bad_modes(path: str, text: str) -> list[str]:
    found = MODE.findall(text) if path.startswith("salt/") and path.endswith(".sls") else []
    return [f"mode {mode} is not four digits in quotes" for mode in found if not re.fullmatch(r"'0[0-7]{3}'", mode)]


def left_to_the_umask(path: str, text: str) -> list[str]:
    """What makes a file or directory says its mode: base/files does, and whoever else does it forgets."""
    if not path.startswith(OURS) or not path.endswith(".py") or path.endswith("base/files.py"):
        return []
    tree = ast.parse(text)
    parts = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    told = {call for part in parts if "fchmod" in ast.unparse(part) for call in ast.walk(part)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node not in told]
    return [f"line {call.lineno} makes a file or directory past base/files" for call in calls if _makes(call)]


def _makes(call: ast.Call) -> bool:
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    words = [
        word.value
        for word in (*call.args[1:2], *(key.value for key in call.keywords if key.arg == "mode"))
        if isinstance(word, ast.Constant) and isinstance(word.value, str)
    ]
    writes = called == "open" and any(set(word) & set("wax") for word in words)
    return writes or called in ("makedirs", "mkdir", "mkfifo", "write_text", "write_bytes", "touch", "copytree")


def obsolete_states(path: str, text: str) -> list[str]:
    words = ("cmd.wait", "module.wait", "alternatives.") if path.endswith(".sls") else ()
    return [f"uses {word}" for word in words if word in text]


def unfinished(path: str, text: str) -> list[str]:
    words = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    return [f"has {word}" for word in words if re.search(rf"\b{word}\b", text)]


RULES: tuple[Callable[[str, str], list[str]], ...] = (
    *(too_long, long_functions, without_purpose, bad_modes, left_to_the_umask, obsolete_states, unfinished),
)
CHECKED = sorted({*PYTHON, *SHELL, *(path for path in FILES if path.suffix in OPENING)})


@pytest.mark.parametrize("rule", RULES, ids=[rule.__name__ for rule in RULES])
def test_every_file_keeps_the_rule(rule) -> None:
    assert [f"{name(path)}: {found}" for path in CHECKED for found in rule(name(path), path.read_text())] == []


BROKEN = {
    too_long: ("salt/dcgm/x.sls", "# A long state.\n" * 61),
    long_functions: ("superpod/x.py", '"""A module."""\n\n\ndef f():\n' + "    pass\n" * 60),
    without_purpose: ("salt/dcgm/x.sls", "a state:\n  test.nop: []\n"),
    bad_modes: ("salt/dcgm/x.sls", "x:\n  file.managed:\n    - mode: 0644\n"),
    left_to_the_umask: ("_utils/x.py", '"""A module."""\nopen("/etc/x", "w").close()\n'),
    obsolete_states: ("salt/dcgm/x.sls", "# A state.\nx:\n  cmd.wait: []\n"),
    unfinished: ("superpod/x.py", '"""A module."""\n# TO' + "DO: more\n"),
}


@pytest.mark.parametrize("rule", RULES, ids=[rule.__name__ for rule in RULES])
def test_the_rule_finds_what_breaks_it(rule) -> None:
    assert len(rule(*BROKEN[rule])) == 1


def test_the_file_root_holds_no_python_package() -> None:
    # A salt/__init__.py would be what `import salt` finds.
    assert [name(path) for path in FILES if name(path).startswith("salt/") and path.name == "__init__.py"] == []


def test_the_map_is_one_line() -> None:
    assert len((REPOSITORY / "salt/dcgm/map.jinja").read_text().splitlines()) == 1


def test_half_of_the_states_have_no_more_than_25_lines() -> None:
    lengths = sorted(len(path.read_text().splitlines()) for path in STATES)
    assert lengths[len(lengths) // 2] <= 25


def test_bash_reads_the_script_that_every_job_runs_at_once() -> None:
    # bash reads scripts in blocks of 8 KiB: up to that, one replaced on NFS while it runs is never half old, half new.
    assert (REPOSITORY / "salt/dcgm/slurm/files/job-map.sh").stat().st_size <= 8192


def test_the_links_of_the_file_root_lead_to_the_folders_of_custom_code() -> None:
    links = {path.name: path.readlink().as_posix() for path in (REPOSITORY / "salt").iterdir() if path.is_symlink()}
    kinds = ("_engines", "_grains", "_modules", "_output", "_runners", "_states", "_utils")
    assert links == {kind: f"../{kind}" for kind in kinds}
