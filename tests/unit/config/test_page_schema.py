"""A page is held against the metric schema of the release that shows it, and of no other."""

from __future__ import annotations

from typing import Any

import pytest
from superpod_dcgm.config import page_schema
from superpod_dcgm.exporter import installed

OLD = {"DCGM_FI_DEV_FB_USED": 9.0, "DCGM_FI_DEV_POWER_USAGE": 90.5, "DCGM_FI_DEV_GPU_UTIL": 97.0}
NEW = {"DCGM_FI_DEV_FB_USED_BYTES": 9.0, "DCGM_FI_DEV_MEMORY_UTIL_RATIO": 0.5, "DCGM_FI_DEV_GPU_UTIL_RATIO": 0.97}
RELEASE = "4.9.0"


@pytest.fixture(autouse=True)
def current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "linked_release", lambda: RELEASE)


@pytest.mark.parametrize(
    ("release", "schema", "page", "sentence"),
    [
        (RELEASE, 2, NEW, ""),
        (RELEASE, 2, OLD, "it shows metric schema 1, and the release has 2"),
        (RELEASE, 1, NEW, "it shows metric schema 2, and the release has 1"),
        (RELEASE, 2, {**OLD, **NEW}, "it has names of both metric schemas"),
        # A fault, or a few rows of the site's own.
        (RELEASE, 2, {}, ""),
        # Taken back.
        ("4.9.1", 1, NEW, ""),
        (RELEASE, 0, OLD, ""),
    ],
)
def test_only_the_current_release_is_judged(release: str, schema: int, page: dict[str, float], sentence: str) -> None:
    found = page_schema.judge(release, schema)(page)
    assert sentence in found
    assert found.startswith(f"/metrics is not as dcgm-exporter {RELEASE} should have it: ") or not sentence


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"pinned": [RELEASE, 2]}, True),
        ({}, False),
        ({"pinned": None}, False),
        ({"pinned": [RELEASE]}, False),
        ({"pinned": [RELEASE, "2"]}, False),
    ],
)
def test_what_the_last_apply_kept_is_used_whatever_is_in_it(record: dict[str, Any], told: bool) -> None:
    assert bool(page_schema.recorded(record)(OLD)) == told
