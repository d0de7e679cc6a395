"""What a machine is called: short and long names of one node are one, and no two nodes become one."""

from __future__ import annotations

import pytest
from superpod_dcgm.base import names


@pytest.mark.parametrize(
    ("own", "among", "expected"),
    [
        (["dgx-01"], ["dgx-01", "dgx-02"], "dgx-01"),
        (["DGX-01.cluster"], ["dgx-01", "dgx-02"], "dgx-01"),
        (["dgx-01"], ["DGX-01.cluster", "dgx-02"], "DGX-01.cluster"),
        (["serial-7", "dgx-01"], ["dgx-01.cluster"], "dgx-01.cluster"),
        (["prod.dgx-01", "dgx-01"], ["prod.dgx-02", "prod.dgx-01"], "prod.dgx-01"),
        (["prod.dgx-01"], ["prod.dgx-02"], None),
        (["dgx-01"], ["dgx-01", "dgx-01.cluster"], "dgx-01"),
        (["dgx-01"], ["dgx-01.one", "dgx-01.two"], None),
        (["dgx-01"], ["dgx-011"], None),
        (["dgx-01"], [], None),
    ],
)
def test_a_node_finds_its_own_name_or_none(own, among, expected) -> None:
    assert names.find(own, among) == expected
