"""The other sources of roles: cmsh, a table in the pillar, none."""

from __future__ import annotations

import pytest
from superpod_dcgm.watcher import sources
from superpod_dcgm.watcher.device_list import Heard, Unknown

CMSH = """#!/bin/sh
case "$3" in
  "device list"*) cat <<X
hostname (key)                 |category
-------------------------------|---------------
bcm-01                         |
dgx-01                         |dgx
DGX-02.cluster                 |dgx
X
  ;;
  "device; foreach -l slurmclient (get hostname)") echo dgx-01 ;;
  *) echo "unexpected: $*" >&2; exit 3 ;;
esac
"""


def settings(source: str, **more):
    return {"roles": {"source": source, "run_on": ["slurmclient"], **more}, "watcher": {"timeout": 5}}


@pytest.fixture
def cmsh(tmp_path, monkeypatch):
    def install(text: str) -> None:
        program = tmp_path / "cmsh"
        program.write_text(text)
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return install


def test_cmsh_tells_roles_and_categories(cmsh) -> None:
    cmsh(CMSH)
    assert sources.ask(settings("cmsh"), None) == Heard(
        "cmsh",
        {
            "bcm-01": {"roles": [], "category": None, "type": None},
            "dgx-01": {"roles": ["slurmclient"], "category": "dgx", "type": None},
            "dgx-02": {"roles": [], "category": "dgx", "type": None},
        },
    )


def test_cmsh_is_asked_for_roles_of_all_forms_and_an_odd_device_costs_itself(cmsh) -> None:
    text = CMSH.replace("DGX-02.cluster  ", "../../etc      |\nhostname01      ").replace(
        "slurmclient", "Generic::DCGM"
    )
    cmsh(text.replace("echo dgx-01 ;;", "printf 'dgx-01\\n../../etc\\n' ;;"))
    asked = settings("cmsh")
    asked["roles"]["run_on"] = ["Generic::DCGM"]
    heard = sources.ask(asked, None)
    assert {name: device["roles"] for name, device in heard.devices.items()} == {
        **{"bcm-01": [], "dgx-01": ["generic::dcgm"], "hostname01": []},
    }
    assert heard.odd.problems == ["cmsh lists a device with no usable name: '../../etc'"] and not heard.odd.complete


BROKEN = {
    "fails": ("#!/bin/sh\necho 'no daemon' >&2\nexit 1\n", "exit code 1: no daemon"),
    "lists nothing": ("#!/bin/sh\n", "no devices"),
    "says something else": ("#!/bin/sh\necho 'Could not connect'\n", "not a device: 'Could not connect'"),
    "hangs": ("#!/bin/sh\nexec sleep 20\n", "does not answer"),
    "names a stranger": (CMSH.replace("echo dgx-01 ;;", "echo dgx-09 ;;"), "'dgx-09'"),
    "prints no name": (CMSH.replace("echo dgx-01 ;;", "echo 'Unknown role' ;;"), "not a host name: 'Unknown role'"),
}


@pytest.mark.parametrize(("text", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_a_cmsh_that_does_not_tell_is_unknown(cmsh, text, expected) -> None:
    cmsh(text)
    asked = settings("cmsh")
    asked["watcher"]["timeout"] = 1
    with pytest.raises(Unknown, match=expected.replace("(", "\\(")):
        sources.ask(asked, None)


def test_the_table_of_the_pillar_is_a_source() -> None:
    asked = settings("static", static={"DGX-01.cluster": ["b", "a"], "dgx-02": []})
    heard = sources.ask(asked, None)
    assert heard.head == "static"
    assert {name: device["roles"] for name, device in heard.devices.items()} == {"dgx-01": ["a", "b"], "dgx-02": []}
    with pytest.raises(Unknown, match="roles:static is empty"):
        sources.ask(settings("static", static={}), None)


def test_nodes_of_the_table_whose_names_begin_alike_stay_two() -> None:
    table = {"prod.dgx-01": [" Slurmclient "], "prod.dgx-02": [], "dgx-03.cluster": ["generic::x"]}
    heard = sources.ask(settings("static", static=table), None)
    assert {name: device["roles"] for name, device in heard.devices.items()} == {
        **{"prod.dgx-01": ["slurmclient"], "prod.dgx-02": [], "dgx-03": ["generic::x"]},
    }


def test_without_a_source_every_node_is_a_device() -> None:
    assert list(sources.ask(settings("none"), {"dgx-01": "dgx-01.x"}).devices) == ["dgx-01"]
    with pytest.raises(Unknown, match="hosts:nodes"):
        sources.ask(settings("none"), None)
