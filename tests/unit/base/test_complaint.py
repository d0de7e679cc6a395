"""Of what a program says, the line is chosen that tells why, clean and bounded."""

from __future__ import annotations

import pytest
from superpod_dcgm.base import complaint

MAKE = "make: *** [Makefile:10: binary] Error 1"
# what is said: what tells why
CASES = {
    "git, with advice after it": (
        "Cloning into 'x'...\nfatal: repository '/x' does not exist\nhint: look elsewhere\n",
        "fatal: repository '/x' does not exist",
    ),
    "git over ssh, where git's own last words say nothing": (
        "git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.\n\n"
        "Please make sure you have the correct access rights\nand the repository exists.\n",
        "git@h: Permission denied (publickey).",
    ),
    "the first of several errors of git": (
        "error: RPC failed; curl 56 Recv failure\nfatal: early EOF\nfatal: fetch-pack: invalid index-pack output\n",
        "error: RPC failed; curl 56 Recv failure",
    ),
    "a compiler, many lines before make": (
        f"go: downloading github.com/pkg/errors v0.9.1\n# example.com/x\na.go:5:2: undefined: thing\n{MAKE}\n",
        "a.go:5:2: undefined: thing",
    ),
    "a linker": (
        f"/usr/bin/ld: cannot find -ldcgm\ncollect2: error: ld returned 1 exit status\n{MAKE}\n",
        "/usr/bin/ld: cannot find -ldcgm",
    ),
    "a warning is no reason": ("warning: could not find x\nb.go:1:1: syntax error\n", "b.go:1:1: syntax error"),
    "no network": (
        f'go: example.com/x@v1: Get "https://proxy/": dial tcp: lookup proxy: no such host\n{MAKE}\n',
        'go: example.com/x@v1: Get "https://proxy/": dial tcp: lookup proxy: no such host',
    ),
    "systemctl": (
        "Job for x.service failed because the control process exited with error code.\n"
        'See "systemctl status x.service" and "journalctl -xeu x.service" for details.\n',
        "Job for x.service failed because the control process exited with error code.",
    ),
    "Python": ('Traceback (most recent call last):\n  File "a"\nValueError: bad thing\n', "ValueError: bad thing"),
    "apt": (
        "E: Unable to locate package x\nE: Sub-process /usr/bin/dpkg returned an error code (1)",
        "E: Unable to locate package x",
    ),
    "a reason in two lines": ("error:\n  the disk is full\n", "error: the disk is full"),
    "only make": (f"{MAKE}\n", MAKE),
    "no word of failure": ("one\ntwo\n", "two"),
    "nothing": (" \n\n", ""),
    "progress": ("Receiving objects:  1%\rReceiving objects: 99%\rfatal: early EOF\r\n", "fatal: early EOF"),
    "colours, a title and a bell": (
        "\x1b]0;title\x07\x1b[1;31merror:\x1b[0m no \x07such\tfile\x1b[K\n",
        "error: no such file",
    ),
}


@pytest.mark.parametrize(("said", "why"), CASES.values(), ids=CASES.keys())
def test_the_line_that_tells_why(said: str, why: str) -> None:
    assert complaint.reason(said) == why


def test_of_a_log_the_last_error_counts() -> None:
    log = 'level=ERROR msg="first"\nlevel=INFO msg=on\nlevel=error msg="second"\nlevel=INFO msg="Exiting"\n'
    assert complaint.reason(log, last=True) == 'level=error msg="second"'
    assert complaint.reason(log) == 'level=ERROR msg="first"'


def test_a_long_line_is_cut_and_one_that_fits_is_not() -> None:
    longest = complaint.reason("error: " + "x" * 1_000_000)
    assert len(longest) == complaint.LONGEST
    assert longest.endswith(" …")
    whole = "error: " + "x" * (complaint.LONGEST - 7)
    assert complaint.reason(whole) == whole
