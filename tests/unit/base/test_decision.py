"""Whether the exporter should run on a node: what its roles say, and what nobody knows."""

from __future__ import annotations

import pytest
from superpod_dcgm.base import roles

BCM = {"source": "bcm", "run_on": ["slurmclient", "gpu"]}


@pytest.mark.parametrize(
    ("settings", "names", "expected"),
    [
        (BCM, ["gpu", "x"], "running"),
        (BCM, ["x"], "stopped"),
        (BCM, [], "stopped"),
        ({**BCM, "run_on": ["Generic::DCGM"]}, ["generic::dcgm"], "running"),
        ({**BCM, "run_on": ["generic::dcgm"]}, ["generic::dcgm-exporter"], "stopped"),
        (BCM, None, "unknown"),
        ({**BCM, "source": "static"}, None, "unknown"),
        ({**BCM, "source": "none"}, None, "running"),
        ({**BCM, "source": "none"}, [], "running"),
    ],
)
def test_whether_the_exporter_is_wanted(settings, names, expected) -> None:
    assert roles.decide(settings, names) == expected


@pytest.mark.parametrize(("record", "expected"), [(None, None), ({"roles": []}, []), ({"roles": ["gpu"]}, ["gpu"])])
def test_a_node_without_a_record_has_unknown_roles_not_none(record, expected) -> None:
    assert roles.names_in(record) == expected
