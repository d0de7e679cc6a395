"""A pillar that cannot be rendered is told by file, line and reason, whatever Salt makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from superpod_dcgm.fleet import pillar_text

FAILED = "Rendering SLS 'dcgm' failed, render error:\n"
BLOCK = (
    'while parsing a block mapping\n  in "<unicode string>", line 2, column 3\n'
    'did not find expected key\n  in "<unicode string>", line 4, column 4'
)
TWICE = (
    'while constructing a mapping\n  in "<unicode string>", line 2, column 3\n'
    "found conflicting ID 'hosts'\n  in \"<unicode string>\", line 3, column 3"
)
# name: (the file, what Salt says, what we say)
CASES: dict[str, tuple[str, str, str]] = {
    "a match without quotes": (
        "dcgm:\n  hosts:\n    nodes: *dgx*\n",
        f"{FAILED}did not find expected alphabetic or numeric character",
        "dcgm.sls, line 3: expected alphabetic or numeric character, but found '*' "
        "(a value that begins with * must be in quotes, such as '*dgx*')",
    ),
    "a tab": (
        "dcgm:\n\thosts: 1\n",
        f"{FAILED}found character that cannot start any token",
        "dcgm.sls, line 2: found character '\\t' that cannot start any token (indent by spaces, not by tabs)",
    ),
    "an indent": (
        "dcgm:\n  hosts:\n    nodes: x\n   head: x\n",
        f"{FAILED}{BLOCK}",
        "dcgm.sls, line 4: expected <block end>, but found '<block mapping start>' "
        "(is a line indented less or more than those beside it?)",
    ),
    "a key twice": (
        "dcgm:\n  hosts: {}\n  hosts: {}\n",
        f"{FAILED}{TWICE}",
        "dcgm.sls, line 3: found conflicting ID 'hosts' (the key is there twice)",
    ),
    "YAML of a template": (
        "dcgm: {{ 1 }}\n   head: x\n",
        f"{FAILED}{BLOCK}",
        "dcgm.sls, line 4: did not find expected key",
    ),
    "Jinja": (
        "dcgm: {{ x.y }}\n",
        f"{FAILED}Jinja variable 'x' is undefined; line 1\n\n---\ndcgm: {{{{ x.y }}}}    <===\n---",
        "dcgm.sls, line 1: Jinja variable 'x' is undefined",
    ),
    "the top file": (
        "dcgm: {}\n",
        "Rendering Primary Top file failed, render error:\nanything",
        "top.sls, line 2: expected <block end>, but found '[' (is a line indented less or more than those beside it?)",
    ),
    "a file in a folder": (
        "dcgm: {}\n",
        "Rendering SLS 'site.gpus' failed, render error:\nJinja variable 'x' is undefined\n",
        "site/gpus/init.sls: Jinja variable 'x' is undefined",
    ),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "top.sls").write_text('base:\n  "*" [dcgm]\n')
    (tmp_path / "site/gpus").mkdir(parents=True)
    (tmp_path / "site/gpus/init.sls").write_text("a: {{ x }}\n")
    return tmp_path


@pytest.mark.parametrize(("text", "error", "sentence"), CASES.values(), ids=CASES.keys())
def test_the_file_the_line_and_the_reason_are_told(root: Path, text: str, error: str, sentence: str) -> None:
    (root / "dcgm.sls").write_text(text)
    assert pillar_text.errors([error], [str(root)]) == [f"{root}/{sentence}"]


def test_what_is_no_error_of_rendering_is_told_as_it_is(root: Path) -> None:
    missing = "Specified SLS 'dgcm' in environment 'base' is not available on the salt master"
    assert pillar_text.errors([missing], [str(root)]) == [f"The pillar: {missing}"]
