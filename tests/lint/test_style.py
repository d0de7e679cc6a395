"""What CONTRIBUTING.md asks of docstrings, state ids, Jinja, Markdown and commits."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from files import FILES, PYTHON, REPOSITORY, STATES, name

# Some subjects before it are longer.
LAST_EXEMPT = "5f23b603bd90dcdd9cd048cba0365073c83d2fa3"
SUBJECT, LINE = 72, 120
# Salt's loaders make every function that they find in these a function of the module.
LOADED = ("_engines/", "_grains/", "_modules/", "_runners/", "_states/")
# Called by Salt, never by name in an SLS.
NOT_WRITTEN = ("mod_watch", "mod_init", "mod_aggregate")
VERBS = (
    *("Add", "Apply", "Build", "Check", "Create", "Deliver", "Enable", "Install", "Join", "Link", "Make", "Move"),
    *("Offer", "Re-enable", "Reload", "Remove", "Report", "Restart", "Restrict", "Show", "Start", "Stop", "Tell"),
    *("Unpack", "Wait", "Write"),
)
# Words that no administrator uses for what a state does.
BANNED = re.compile(
    r"\b(no longer|any ?more|anew|for good|in a moment|look(ed|s)? after|eyes|forget|take .* away|take .* out)\b",
    re.IGNORECASE,
)
_ID = re.compile(r"^([^\s#{].*|\{\{.*\}\}.*):\s*$", re.MULTILINE)
_SET = re.compile(r"\{%-? set (\w+) = \"([^\"]*)\" -?%\}")
_NO_STATES = ("include", "extend", "base")
_CONTROL = re.compile(r"\{%.*?%\}", re.DOTALL)
_MAP = re.compile(r'^\{%-? from "dcgm/map\.jinja" import .*%\}$', re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\([^)]*\)|https?://\S+")


def functions(text: str) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name[0] != "_")


def without_example(path: str, text: str) -> list[str]:
    """Public functions of modules and runners show a command, those of states their YAML."""
    marks = {"_modules": "CLI Example:", "_runners": "CLI Example:", "_states": ".. code-block:: yaml"}
    mark = marks.get(path.partition("/")[0])
    found = functions(text) if mark and path.endswith(".py") else ()
    missing = [node for node in found if mark not in (ast.get_docstring(node) or "") and node.name not in NOT_WRITTEN]
    return [f"{node.name} has no `{mark}`" for node in missing]


def without_docstring(path: str, text: str) -> list[str]:
    """All that one part of the package offers to another says what it is."""
    if not path.startswith(("_utils/", *LOADED)) or not path.endswith(".py"):
        return []
    kinds = (ast.FunctionDef, ast.ClassDef)
    public = [node for node in ast.parse(text).body if isinstance(node, kinds) and node.name[0] != "_"]
    return [f"{node.name} has no docstring" for node in public if not ast.get_docstring(node)]


def imported_functions(path: str, text: str) -> list[str]:
    """Modules and classes may come in by name; a function would be published under the name of the module."""
    found = []
    for node in ast.walk(ast.parse(text)) if path.startswith(LOADED) and path.endswith(".py") else ():
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            folder = REPOSITORY / "_utils" / (node.module or "").replace(".", "/")
            names = [alias.name for alias in node.names]
            found += [one for one in names if one[0].islower() and not (folder / f"{one}.py").is_file()]
    return [f"imports {one}, which Salt would publish as a function of this module" for one in found]


def ids(text: str) -> list[str]:
    """The ids of an SLS, with names that it sets itself filled in."""
    known = dict(_SET.findall(text))
    found = [re.sub(r"\{\{ (\w+) \}\}", lambda match: known.get(match[1], match[0]), one) for one in _ID.findall(text)]
    return [one for one in found if one not in _NO_STATES]


def bad_ids(path: str, text: str) -> list[str]:
    """An id begins with a verb, says it in words of the field, and is there once."""
    found = Counter(ids(text) if path.startswith("salt/") and path.endswith(".sls") else ())
    problems = [f"the id {one!r} is there {count} times" for one, count in found.items() if count > 1]
    problems += [f"the id {one!r} does not begin with a known verb" for one in found if one.split()[0] not in VERBS]
    return problems + [f"the id {one!r} says {word[0]!r}" for one in found if (word := BANNED.search(one))]


def long_markdown(path: str, text: str) -> list[str]:
    lines = _FENCE.sub("", text).splitlines() if path.endswith(".md") else []
    return [f"{line[:40]!r}… is too long" for line in lines if line[:1] != "|" and len(_LINK.sub("", line)) > LINE]


RULES: tuple[Callable[[str, str], list[str]], ...] = (
    *(without_example, without_docstring, imported_functions, bad_ids, long_markdown),
)
CHECKED = sorted({*PYTHON, *STATES, *(path for path in FILES if path.suffix == ".md")})


@pytest.mark.parametrize("rule", RULES, ids=[rule.__name__ for rule in RULES])
def test_every_file_keeps_the_rule(rule) -> None:
    assert [f"{name(path)}: {found}" for path in CHECKED for found in rule(name(path), path.read_text())] == []


SLS = "# A state.\n{}:\n  test.nop: []\n"
BROKEN = {
    "a command is missing": (without_example, "_modules/x.py", 'def f():\n    """Do it."""\n'),
    "a runner's command is missing": (without_example, "_runners/x.py", "def f(): pass\n"),
    "YAML is missing": (without_example, "_states/x.py", 'def f():\n    """CLI Example: x"""\n'),
    "a docstring is missing": (without_docstring, "_utils/superpod_dcgm/base/x.py", "def f(): pass\n"),
    "a class without a docstring": (without_docstring, "_utils/superpod_dcgm/base/x.py", "class X: pass\n"),
    "a function of ours": (imported_functions, "_states/x.py", "from superpod_dcgm.base.state import result\n"),
    "a function of Python": (imported_functions, "_runners/x.py", "def f():\n    from functools import partial\n"),
    "an id that is there twice": (bad_ids, "salt/dcgm/x.sls", SLS.format("Write x") * 2),
    "an id without a verb": (bad_ids, "salt/dcgm/x.sls", SLS.format("The exporter's unit")),
    "an id with Jinja and no verb": (bad_ids, "salt/dcgm/x.sls", SLS.format("{{ unit }} is there")),
    "an id that a set names": (
        *(bad_ids, "salt/dcgm/x.sls"),
        '# A state.\n{%- set ready = "Ready" %}\n{{ ready }}:\n  test.nop: []\n',
    ),
    "no longer": (bad_ids, "salt/dcgm/x.sls", SLS.format("Apply the prolog no longer")),
    "anew": (bad_ids, "salt/dcgm/x.sls", SLS.format("Link the device table anew")),
    "for good": (bad_ids, "salt/dcgm/x.sls", SLS.format("Stop the unit for good")),
    "others' eyes": (bad_ids, "salt/dcgm/x.sls", SLS.format("Restrict x to the master's eyes")),
    "a line of Markdown": (long_markdown, "docs/x.md", "word " * 25),
}


@pytest.mark.parametrize(("rule", "path", "text"), BROKEN.values(), ids=BROKEN.keys())
def test_the_rule_finds_what_breaks_it(rule, path, text) -> None:
    assert len(rule(path, text)) == 1


def test_tables_links_and_code_in_markdown_may_be_long() -> None:
    text = f"| {'word ' * 30}|\n[x](https://{'x' * 200})\n```\n{'word ' * 30}\n```\n"
    assert long_markdown("docs/x.md", text) == []


def control_lines(text: str) -> int:
    """The lines that tags of Jinja take; the map's import is in every file and says nothing."""
    return sum(tag.count("\n") + 1 for tag in _CONTROL.findall(_MAP.sub("", text)))


def test_at_most_a_tenth_of_the_states_is_jinja() -> None:
    texts = [path.read_text() for path in STATES if name(path).startswith("salt/")]
    lines = sum(len(text.splitlines()) for text in texts)
    share = 100 * sum(map(control_lines, texts)) / lines
    assert share <= 10, "move what builds lists and dicts to _utils/superpod_dcgm/config/derive.py"


def test_lines_of_jinja_are_counted() -> None:
    text = (
        '{%- from "dcgm/map.jinja" import dcgm with context %}\n{%- set x = [\n  1] %}\n{% if x %}\nA:\n{% endif %}\n'
    )
    assert control_lines(text) == 4


def long_subjects(subjects: list[str]) -> list[str]:
    return [subject for subject in subjects if len(subject) > SUBJECT]


def test_subjects_of_commits_are_short() -> None:
    command = ["git", "log", "--format=%s", "HEAD", "--not", LAST_EXEMPT]
    # An archive has no commits, and a shallow clone not that one: nothing to check.
    answer = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert long_subjects(answer.stdout.splitlines()) == []


def test_a_long_subject_is_found() -> None:
    assert long_subjects(["x" * SUBJECT, "x" * (SUBJECT + 1)]) == ["x" * (SUBJECT + 1)]


def test_no_two_files_of_tests_have_one_name() -> None:
    # Without packages, pytest imports each by its bare name, and one worker may be given both.
    names = Counter(path.name for path in REPOSITORY.glob("tests/**/test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
