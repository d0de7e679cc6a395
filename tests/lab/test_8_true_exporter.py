"""
NVIDIA's own dcgm-exporter, built by this product's states, answers the questions of tests/upstream by their table.

SUPERPOD_UPSTREAM names its repository, an address or a path. SUPERPOD_ANSWERS names a folder for the answers.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from product import Cluster

from superpod.lab import Lab, deployment
from tests import standin

QUESTIONS = standin.REPOSITORY / "tests/upstream"
sys.path.insert(0, str(QUESTIONS))

import comparison  # noqa: E402
import questions  # noqa: E402
from subject import Program  # noqa: E402

NODE = "dgx-01"
NEWER, OLDER = RELEASES = ("4.5.3-4.8.2", "4.4.2-4.7.1")
# On the shared storage, as the node sees it.
PLACE = Path("/cm/shared/lab/questions")
# A mount namespace of its own, in which the loader's cache is empty.
WITHOUT_DCGM = ["unshare", "-m", "sh", "-c", 'mount -n --bind /dev/null /etc/ld.so.cache && exec "$@"', "sh"]
EXPLAINED: dict[str, str] = {}


@pytest.fixture(scope="module")
def lab(new_lab: Callable[[str], Lab]) -> Lab:
    """A lab of one node in which two releases of the true exporter can be built."""
    found = new_lab("true")
    deployment.up(found, nodes=1, source=os.environ["SUPERPOD_UPSTREAM"], releases=RELEASES)
    return found


@pytest.fixture(scope="module")
def true_answers(lab: Lab) -> Callable[[str], dict[str, Any]]:
    """A function that deploys a release and returns what the true program answers on a node."""
    folder = lab.layout.shared / "lab/questions"
    shutil.copytree(QUESTIONS, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    standin.write_profiles(folder / "gpus")

    @cache
    def ask(release: str) -> dict[str, Any]:
        deployment.up(lab, releases=(release,))
        installed = f"/opt/dcgm-exporter/{release}"
        program = Program(
            f"{installed}/dcgm-exporter",
            f"{installed}/default-counters.csv",
            "/usr/lib/lab/host-engine",
            f"{PLACE}/gpus",
            without_dcgm=WITHOUT_DCGM,
        )
        (folder / "program.json").write_text(json.dumps(asdict(program)))
        command = ["python3", "-B", f"{PLACE}/questions.py", f"{PLACE}/program.json"]
        found: dict[str, Any] = json.loads(lab.exec(NODE, command, check=True).stdout)
        if folder_of_answers := os.environ.get("SUPERPOD_ANSWERS"):
            (Path(folder_of_answers) / f"{release}.json").write_text(json.dumps(found, indent=1))
        return found

    return ask


@pytest.mark.parametrize("question", questions.QUESTIONS)
@pytest.mark.parametrize("release", RELEASES)
def test_the_true_program_answers_by_the_table(
    true_answers: Callable[[str], dict[str, Any]], release: str, question: str
) -> None:
    expected = comparison.expected(comparison.table()[question], release)
    lines = comparison.differences(expected, true_answers(release)[question])
    unexplained = [line for line in lines if line.partition(":")[0] not in EXPLAINED]
    assert not unexplained, "\n".join(["table, the true program:", *unexplained])


def test_the_deployed_program_is_the_true_one(lab: Lab) -> None:
    program = Cluster(lab).shell(NODE, "realpath /usr/bin/dcgm-exporter")
    assert Cluster(lab).shell(NODE, f"grep -c github.com/NVIDIA/go-dcgm {program} || true") != "0"
