"""
Make docs/prometheus-config-sample.yml, what Prometheus is told by the defaults, with the code that tells it on a host.

    python3 docs/make_prometheus.py

A test fails when it is older than its sources; promtool takes it in the lab.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
SAMPLE = REPOSITORY / "docs/prometheus-config-sample.yml"
sys.path.insert(0, str(REPOSITORY / "_utils"))

from superpod_dcgm.config import resolve, scrape  # noqa: E402
from superpod_dcgm.monitoring import texts  # noqa: E402

HEAD = """\
# What Prometheus is told by the defaults of this project. Made by docs/make_prometheus.py: change that, not this file.
# A Prometheus of yours takes the two entries of scrape_configs, and rule_files with your directory (prometheus.md).
# From 3.0 on add `fallback_scrape_protocol: PrometheusText0.0.4` to each of the two; before, nobody knows that key.
"""


def sample() -> str:
    """Return the text of the sample."""
    names = ("defaults", "schema", "compatibility")
    read = (yaml.safe_load((REPOSITORY / f"salt/dcgm/{name}.yaml").read_text()) for name in names)
    return HEAD + texts.plain(scrape.whole(resolve.configuration(*read, {})))


def main() -> None:
    """Write it."""
    SAMPLE.write_text(sample())
    print(f"{SAMPLE.relative_to(REPOSITORY)} is written")


if __name__ == "__main__":
    main()
