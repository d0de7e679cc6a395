"""
Outputter ``bcm_status``: what ``bcm.status`` and ``dcgm.report`` return, as a table that fits one screen.

``--out=json`` and every other outputter print all of it.
"""

from __future__ import annotations

import pprint
import shutil
from typing import Any

# Salt's loader of outputters does not know _utils; the runner that returned the data brought the package along.
from superpod_dcgm.fleet import status_table


def output(data: Any, **_kwargs: Any) -> str:
    """
    Return the table.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.status
    """
    if not isinstance(data, dict) or "nodes" not in data:
        return data if isinstance(data, str) else pprint.pformat(data)
    width, height = shutil.get_terminal_size()
    return status_table.render(data, width, height)
