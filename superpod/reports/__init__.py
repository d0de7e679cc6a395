"""Reports from any server that answers as Prometheus does: of one job, of users and accounts, and live."""

import sys
from pathlib import Path

# Names of metrics and XIDs are those of the code that the rules are made with.
_UTILS = str(Path(__file__).resolve().parents[2] / "_utils")
if _UTILS not in sys.path:
    sys.path.append(_UTILS)
