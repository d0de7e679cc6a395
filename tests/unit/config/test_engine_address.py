"""Which addresses of a host engine go into a pillar, and which a release takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from superpod_dcgm.config import engine_address, resolve

ROOT = Path(__file__).parents[3] / "salt/dcgm"
TREE = [yaml.safe_load((ROOT / f"{name}.yaml").read_text()) for name in ("defaults", "schema", "compatibility")]

# (release, address): words of what is wrong with it; none where the release takes it
CASES = {
    ("4.5.3-4.8.2", "localhost:5555"): "",
    ("4.5.3-4.8.2", "10.0.0.7:5566"): "",
    ("4.5.3-4.8.2", "[::1]:5555"): "",
    ("4.1.1-4.0.3", "[fd00::7]:5555"): "",
    ("4.0.0-4.0.1", "[::1]:5555"): "takes no address of IPv6",
    ("3.3.9-3.6.1", "[::1]:5555"): "takes no address of IPv6",
    ("4.5.3-4.8.2", "unix:///run/dcgm.sock"): "cannot reach an engine by its socket",
    ("4.6.0-4.8.3", "unix:///run/dcgm.sock"): "",
    ("4.9.0", "unix:///run/nvidia/dcgm.sock"): "",
    ("4.5.3-4.8.2", "[::1]:0"): "0 is no port",
    ("4.5.3-4.8.2", "h:70000"): "70000 is no port",
    ("4.5.3-4.8.2", "::1:5555"): "host:port, [IPv6 address]:port or unix:///path",
    ("4.5.3-4.8.2", "[::1]"): "host:port",
    ("4.9.0", "unix://dcgm.sock"): "host:port",
    ("4.9.0", "unix:///run/dcgm.sock/"): "host:port",
    ("4.9.0", "tcp://localhost:5555"): "host:port",
    ("4.9.0", "localhost"): "host:port",
}


@pytest.mark.parametrize(("release", "address", "words"), [(*key, words) for key, words in CASES.items()])
def test_an_address_is_taken_where_the_release_takes_it(release: str, address: str, words: str) -> None:
    pillar = {"exporter": {"release": release, "engine_address": address}}
    if not words:
        assert resolve.configuration(*TREE, pillar)["exporter"]["engine_address"] == address
        return
    with pytest.raises(resolve.ConfigurationError) as caught:
        resolve.configuration(*TREE, pillar)
    (sentence,) = str(caught.value).splitlines()
    assert [word for word in ("dcgm:exporter:engine_address", repr(address), words) if word not in sentence] == []


def test_a_socket_takes_no_port_from_the_exporter() -> None:
    assert engine_address.port("unix:///run/dcgm.sock") is None
    pillar = {"exporter": {"release": "4.9.0", "engine_address": "unix:///run/dcgm:5555"}}
    assert resolve.configuration(*TREE, pillar)["exporter"]["port"] == 9400
