"""Salt's own loaders over this repository, without daemons: states and modules run as on a minion, but as this user."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import salt.config
from saltfactories.utils.functional import Loaders


@pytest.fixture(scope="session")
def loaders(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Loaders:
    root = tmp_path_factory.mktemp("loaders")
    options = salt.config.apply_minion_config(
        {
            "id": "dgx-01",
            "root_dir": str(root),
            "cachedir": str(root / "cache"),
            "extension_modules": str(root / "extmods"),
            "file_client": "local",
            "file_roots": {"base": [str(repository / "salt")]},
            "pillar_roots": {"base": [str(repository / "pillar")]},
            "module_dirs": [str(repository)],
            "saltenv": "base",
        },
        defaults=copy.deepcopy(salt.config.DEFAULT_MINION_OPTS),
    )
    for folder in ("cache", "extmods"):
        (root / folder).mkdir()
    return Loaders(options)


@pytest.fixture
def states(loaders: Loaders) -> Any:
    return loaders.states


@pytest.fixture
def modules(loaders: Loaders) -> Any:
    return loaders.modules
