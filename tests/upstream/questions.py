"""
All questions, asked of one exporter.

python3 questions.py PROGRAM.json: prints the answers as JSON. It runs on a lab's node as it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import questions_map
import questions_page
import questions_run
from subject import Program, Subject, shared_engines, subject

QUESTIONS: dict[str, Callable[[Subject], Any]] = {
    question.__name__: question
    for module in (questions_run, questions_page, questions_map)
    for question in module.QUESTIONS
}
# Most of the time a question waits.
AT_ONCE = 6


def ask(program: Program, name: str, engines: dict[str, int]) -> Any:
    """Return the answer to one question, or what went wrong while asking."""
    with subject(program, engines) as found:
        try:
            return QUESTIONS[name](found)
        except Exception as error:
            return {"not answered": f"{type(error).__name__}: {error}"}


def ask_all(program: Program) -> dict[str, Any]:
    """Return the answers to all questions, as JSON has them."""
    with shared_engines(program) as engines, ThreadPoolExecutor(AT_ONCE) as pool:
        answers = pool.map(lambda name: ask(program, name, engines), QUESTIONS)
        return dict(zip(QUESTIONS, json.loads(json.dumps(list(answers))), strict=True))


if __name__ == "__main__":
    json.dump(ask_all(Program.load(Path(sys.argv[1]).read_text(encoding="utf-8"))), sys.stdout, indent=1)
