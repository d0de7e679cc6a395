"""The sample of Prometheus' configuration is what the code writes on a host."""

from __future__ import annotations


def test_the_sample_is_up_to_date(load) -> None:
    maker = load("docs/make_prometheus.py")
    assert maker.SAMPLE.read_text() == maker.sample(), "run python3 docs/make_prometheus.py"
