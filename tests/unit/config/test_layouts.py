"""One key says where Slurm looks for prolog and epilog; a key of its own still wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from superpod_dcgm.config import resolve

ROOT = Path(__file__).parents[3]
DEFAULTS, SCHEMA, COMPATIBILITY = (
    yaml.safe_load((ROOT / f"salt/dcgm/{name}.yaml").read_text()) for name in ("defaults", "schema", "compatibility")
)


def slurm(**keys: Any) -> dict[str, Any]:
    return resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, {"slurm": keys})["slurm"]


# layout: (scripts, directory of the shared scripts, link of the prolog)
LAYOUTS = {
    "bcm10": ("local", "/cm/shared/apps/slurm/var/cm", "/cm/local/apps/slurm/var/prologs/60-prolog-dcgm.sh"),
    "bcm11": ("local", "/cm/shared/apps/slurm/{kind}s", "/cm/local/apps/slurm/var/prologs/60-prolog-dcgm.sh"),
    "plain": ("local", "/cm/shared/apps/slurm/var/cm", "/etc/slurm/prolog.d/60-prolog-dcgm.sh"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_presets_the_places(layout: str) -> None:
    found = slurm(layout=layout)
    assert (found["scripts"], found["shared_directory"], found["prolog_link"]) == LAYOUTS[layout]


def test_every_layout_of_the_schema_is_known_and_valid() -> None:
    assert set(SCHEMA["properties"]["slurm"]["properties"]["layout"]["enum"]) == set(COMPATIBILITY["layouts"])
    for layout, keys in COMPATIBILITY["layouts"].items():
        assert slurm(**keys) == {**slurm(layout=layout), "layout": "bcm10"}


def test_a_key_of_its_own_wins() -> None:
    assert slurm(layout="plain", prolog_link="/etc/slurm/p/70-prolog.sh")["prolog_link"] == "/etc/slurm/p/70-prolog.sh"
