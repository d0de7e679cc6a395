"""What people see of our returns, through Salt's own choice of an outputter; other outputters print all of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import salt.output
import yaml
from saltfactories.utils.functional import Loaders
from superpod_dcgm.config import releases

GPU = "GPU-750765d0-cc56-59c7-85bb-7b4285502105"
MIG = "MIG-11111111-cc56-59c7-85bb-7b428550210"
SHOWN = {
    **{"made": 1, "fingerprint": "f", "age": 130, "order": "slurmd", "ok": True, "problem": "", "note": ""},
    "gpus": {"0": GPU, "1": GPU[:-1] + "6"},
    "places": {"0": ["2", "00000000:1B:00.0"], "1": ["-", "00000000:43:00.0"]},
    "instances": {"1.2": [GPU[:-1] + "6", "3g.40gb"], "1.3": [GPU[:-1] + "6", "1g.10gb"]},
    "uuids": {GPU: "0", GPU[:-1] + "6": "1", MIG + "1": "1.2", MIG + "2": "1.3", MIG + "3": "1.3"},
    "positions": {0: "1.2", 1: "1.3", 2: "0"},
    "shared": ["1.3"],
}
TABLE = f"""dgx-01: 2 GPUs, table made 2m ago, positions in Slurm from slurmd
  GPU  SLURM  MINOR  BUS OR PROFILE    UUID
  0    2      2      00000000:1B:00.0  {GPU}
  1    -      -      00000000:43:00.0  {GPU[:-1]}6
  1.2  0             3g.40gb           {MIG}1
  1.3  1             1g.10gb shared    {MIG}2
  1.3  1             1g.10gb shared    {MIG}3"""
NODES = {"a": {"head": True, "roles": ["headnode"], "problem": None}}
STATUS = {
    **{"outputter": "bcm_status", "source": "bcm", "updated": "t", "head": "master", "failures": 0, "error": None},
    **{"error_since": None, "target_problems": [], "age": 14, "release": "4.5.3-4.8.2", "nodes": NODES},
}


def printed(loaders: Loaders, data, outputter, **options) -> str:
    return salt.output.out_format(data, outputter, {**loaders.opts, "color": False, **options})


def test_the_device_table_is_one_row_per_gpu_with_its_instances_below(loaders) -> None:
    text = printed(loaders, {"dgx-01": SHOWN}, "dcgm_devices")
    assert text == TABLE
    assert max(map(len, text.splitlines())) <= 80


def test_a_table_that_is_old_says_why(loaders) -> None:
    bad = {**SHOWN, "ok": False, "problem": "nvidia-smi hangs", "order": "index", "note": "no slurmd"}
    lines = printed(loaders, {"dgx-01": bad}, "dcgm_devices").splitlines()
    assert lines[:3] == [
        "dgx-01: 2 GPUs, table made 2m ago, positions in Slurm from index",
        "  problem: nvidia-smi hangs",
        "  note: no slurmd",
    ]


@pytest.mark.parametrize("answer", ["ERROR: There is no device table: none was made yet", "Minion did not return."])
def test_what_is_no_table_is_printed_as_it_is(loaders, answer) -> None:
    assert printed(loaders, {"dgx-01": answer}, "dcgm_devices") == f"dgx-01: {answer}"


def test_salt_knows_which_outputter_the_device_table_has(modules) -> None:
    assert modules["dcgm_devices.show"].__outputter__ == "dcgm_devices"


def test_the_releases_are_a_table_with_what_is_not_known_and_what_is_inferred(loaders, repository: Path) -> None:
    compatibility = yaml.safe_load((repository / "salt/dcgm/compatibility.yaml").read_text())
    data = {"outputter": "dcgm_releases", "releases": releases.table(compatibility)}
    lines = printed(loaders, data, "dcgm_releases").splitlines()
    assert max(map(len, lines)) <= 140
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in lines[1 : len(compatibility["releases"]) + 1]}
    assert list(rows) == list(compatibility["releases"])
    assert rows["3.3.6-3.4.2"] == "dd3001a70045 1.21.5 1.21 ? 3.3.6 libdcgm.so - - hides - 1 read"
    assert rows["4.4.2-4.7.1"] == "b921c57eb700 1.24.5 1.24.0 ? 4.4.2 libdcgm.so.4 start - - ipv6 1 read"
    assert rows["4.6.0-4.8.3"] == "? ? ? ? 4.6.0 libdcgm.so.4 - read - ipv6 unix 1 inferred"
    assert "amd64 arm64" in lines[1 + list(rows).index("4.5.3-4.8.2")]
    assert printed(loaders, "Exception occurred", "dcgm_releases") == "Exception occurred"


def test_the_status_is_a_table_and_whatever_else_is_printed_as_it_is(loaders) -> None:
    assert printed(loaders, STATUS, "bcm_status").splitlines()[-1] == "a  headnode"
    assert printed(loaders, "Exception occurred", "bcm_status") == "Exception occurred"


@pytest.mark.parametrize(("data", "outputter"), [({"dgx-01": SHOWN}, "dcgm_devices"), (STATUS, "bcm_status")])
def test_out_json_prints_everything(loaders, data, outputter) -> None:
    assert json.loads(printed(loaders, data, outputter, output="json")) == json.loads(json.dumps(data))


def test_the_device_table_needs_nothing_of_ours_where_no_runner_brought_it(repository: Path) -> None:
    program = f"""
import salt.config, salt.output
opts = dict(salt.config.DEFAULT_MASTER_OPTS, module_dirs=[{str(repository)!r}], color=False)
print(salt.output.out_format({{"dgx-01": "none"}}, "dcgm_devices", opts))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd="/", check=True)
    assert done.stdout.strip() == "dgx-01: none"
