"""Salt's loaders take all custom code without a complaint in the minion's log."""

from __future__ import annotations

import logging

import pytest
import salt.loader
from saltfactories.utils.functional import Loaders


@pytest.mark.parametrize("kind", ["utils", "minion_mods", "states", "grains"])
def test_everything_is_loaded_without_an_error(loaders: Loaders, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    load = {
        "utils": lambda: salt.loader.utils(loaders.opts),
        "minion_mods": lambda: salt.loader.minion_mods(loaders.opts),
        "states": lambda: salt.loader.states(loaders.opts, loaders.modules, {}, {}),
        "grains": lambda: salt.loader.grain_funcs(loaders.opts),
    }
    with caplog.at_level(logging.ERROR, "salt.loader"):
        list(load[kind]())
    ours = ("superpod", "dcgm", "bcm", "job_map")
    assert [line for line in caplog.messages if any(name in line for name in ours)] == []
