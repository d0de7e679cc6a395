"""A fault in deciding, restarting or rolling back makes a quick test fail: each of those in mutants.py is tried."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_the_tables_find_every_planted_fault(tmp_path: Path) -> None:
    # Plugins would be imported by every run and are not needed.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    program = Path(__file__).with_name("mutants.py")
    done = subprocess.run([sys.executable, program, tmp_path], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
