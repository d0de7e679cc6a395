"""What the pillar says of jobs and GPUs reaches prolog, epilog and the services of a node as lines of one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from superpod_dcgm.base import paths
from superpod_dcgm.config import derive, resolve

ROOT = Path(__file__).parents[3]
DEFAULTS, SCHEMA, COMPATIBILITY = (
    yaml.safe_load((ROOT / f"salt/dcgm/{name}.yaml").read_text()) for name in ("defaults", "schema", "compatibility")
)


def lines(pillar: dict[str, Any]) -> dict[str, str]:
    return derive.job_map_conf(resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, pillar))


def test_the_defaults_are_those_of_a_site_with_whole_gpus() -> None:
    found = lines({})
    assert found["directory"] == "/run/dcgm-job-map"
    assert {key: found[key] for key in ("idle", "mig", "shared", "log", "users", "positions")} == {
        **{"idle": "empty", "mig": "yes", "shared": "no"},
        **{"log": "", "users": "yes", "positions": "auto"},
    }
    assert found["textfile"] == paths.TEXTFILE_DIRECTORY


# name: (pillar, setting, its text)
CASES = {
    "a GPU in shards may hold several jobs": ({"slurm": {"gres": ["gpu", "shard"]}}, "shared", "yes"),
    "MPS is told by the job's environment": ({"slurm": {"gres": ["gpu", "mps"]}}, "shared", "mps"),
    "shards count before MPS": ({"slurm": {"gres": ["mps", "shard"]}}, "shared", "yes"),
    "an exporter that knows no MIG files": ({"exporter": {"release": "4.5.2-4.8.1"}}, "mig", "no"),
    "an exporter that reads no map at all": (
        {"exporter": {"release": "4.5.2-4.8.1"}, "job_map": {"label": False}},
        "mig",
        "yes",
    ),
    "an exporter that an empty file hides from": ({"exporter": {"release": "4.2.3-4.2.0"}}, "idle", "unlink"),
    "names of users are nobody's business": ({"job_map": {"users": False}}, "users", "no"),
    "a node_exporter of others": ({"metrics": {"textfile_directory": "/var/lib/ne"}}, "textfile", "/var/lib/ne"),
    "no metrics of our own": ({"metrics": {"enabled": False}}, "textfile", ""),
}


@pytest.mark.parametrize(("pillar", "key", "text"), CASES.values(), ids=CASES.keys())
def test_the_pillar_decides(pillar: dict[str, Any], key: str, text: str) -> None:
    assert lines(pillar)[key] == text


@pytest.mark.parametrize(("port", "owner"), [(9400, "the exporter"), (5555, "the DCGM host engine")])
def test_our_metrics_do_not_take_the_port_of_another(port: int, owner: str) -> None:
    with pytest.raises(resolve.ConfigurationError, match=f"dcgm:metrics:port: {port} belongs to {owner}"):
        lines({"metrics": {"port": port}})


def test_services_run_by_a_name_of_python_that_outlives_an_update_of_salt(tmp_path: Path) -> None:
    versioned = tmp_path / "python3.10"
    assert derive.python(str(versioned)) == str(versioned)
    versioned.touch(mode=0o755)
    (tmp_path / "python3").symlink_to("python3.10")
    assert derive.python(str(versioned)) == str(tmp_path / "python3")


def test_the_python3_beside_may_be_another_one(tmp_path: Path) -> None:
    for name in ("python3.6", "python3.11"):
        (tmp_path / name).touch(mode=0o755)
    (tmp_path / "python3").symlink_to("python3.6")
    assert derive.python(str(tmp_path / "python3.11")) == str(tmp_path / "python3.11")
