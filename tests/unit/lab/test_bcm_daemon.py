"""The stand-in for CMDaemon answers, refuses and fails as the facts about BCM say."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from labcmd.daemon import Daemon
from labcmd.pki import Authority, Pair
from labcmd.state import HEADS, Mistake, Paths, State
from standins import listens

SERVER_NAME = "bcm11-headnode"


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def content(self) -> Any:
        return json.loads(self.text)


class Client:
    """Asks the heads over TLS, with the certificate of a profile or none."""

    def __init__(self, root: Path, daemon: Daemon) -> None:
        self.root, self.daemon = root, daemon
        self.authority = Authority(Paths(root))

    def context(self, profile: str | None) -> ssl.SSLContext:
        """Return TLS settings that check the chain, with both files of the cluster's CA."""
        context = ssl.create_default_context(cafile=str(self.authority.root.certificate))
        context.load_verify_locations(self.authority.cluster.certificate)
        context.check_hostname = False
        if profile == "admin":
            context.load_cert_chain(self.authority.admin.certificate, self.authority.admin.key)
        elif profile:
            pair = self.pair(profile)
            context.load_cert_chain(pair.certificate, pair.key)
        return context

    def pair(self, profile: str) -> Pair:
        """Return a client's certificate, made on first use."""
        pair = Pair(self.root / f"{profile}.pem", self.root / f"{profile}.key")
        if not pair.exists():
            self.authority.client(pair, f"/O=Lab/CN={profile}", profile, "", 30)
        return pair

    def get(self, path: str, head: str = "master", profile: str | None = "admin") -> Answer:
        """Ask one head."""
        connection = http.client.HTTPSConnection(
            *self.daemon.addresses[head], context=self.context(profile), timeout=10
        )
        connection.request("GET", path)
        answer = connection.getresponse()
        found = Answer(answer.status, dict(answer.getheaders()), answer.read().decode())
        connection.close()
        return found

    def names(self, head: str = "master") -> list[str]:
        """Return the host names of the devices."""
        return [found["hostname"] for found in self.get("/rest/v1/device", head).content]


@pytest.fixture
def daemon(bcm_root: Path) -> Iterator[Daemon]:
    """Both heads on free ports of loopback."""
    found = Daemon(Paths(bcm_root), {name: ("127.0.0.1", 0) for name in ("master", *HEADS)})
    found.start()
    yield found
    found.stop()


@pytest.fixture
def client(bcm_root: Path, daemon: Daemon) -> Client:
    return Client(bcm_root, daemon)


@pytest.fixture
def state(bcm_root: Path) -> State:
    return State(Paths(bcm_root))


def test_devices_are_a_list_in_the_shape_of_bcm(client: Client) -> None:
    devices = client.get("/rest/v1/device").content
    head, node = devices[0], devices[-1]
    shared = {"cluster", "hostname", "ip", "mac", "network", "roles", "type", "uuid"}
    assert set(head) == shared and head["type"] == "HeadNode"
    assert set(node) == {*shared, "category"} and node["type"] == "PhysicalNode"
    assert node["roles"] == ["slurmclient", "slurmsubmit"] and node["ip"] == "198.18.0.14"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("?hostname=dgx-02", ["dgx-02"]),
        ("?hostname=none", []),
        ("?x=1", [*HEADS, "dgx-01", "dgx-02", "dgx-03", "dgx-04"]),
    ],
)
def test_hostname_filters_devices(client: Client, query: str, names: list[str]) -> None:
    assert [found["hostname"] for found in client.get(f"/rest/v1/device{query}").content] == names


def test_version_and_category_have_the_shapes_of_bcm(client: Client) -> None:
    assert set(client.get("/rest/v1/version").content) == {"cm_version", "cmd_version"}
    nodes = ["dgx-01", "dgx-02", "dgx-03", "dgx-04"]
    assert client.get("/rest/v1/category").content == [{"name": "dgx", "image": "dgx-image", "nodes": nodes}]


def test_another_path_is_not_found(client: Client) -> None:
    assert client.get("/rest/v1/nothing").status == 404


@pytest.mark.parametrize(
    ("profile", "status"), [("admin", 200), ("readonly", 200), ("none", 403), ("invented", 403), (None, 401)]
)
def test_the_profile_in_the_certificate_decides(client: Client, profile: str | None, status: int) -> None:
    assert client.get("/rest/v1/device", profile=profile).status == status


def test_a_certificate_of_another_authority_is_refused_by_tls(client: Client, tmp_path: Path) -> None:
    other = Client(tmp_path / "other", client.daemon)
    other.authority.ensure()
    context = client.context(None)
    context.load_cert_chain(other.authority.admin.certificate, other.authority.admin.key)
    connection = http.client.HTTPSConnection(*client.daemon.addresses["master"], context=context, timeout=10)
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        connection.request("GET", "/rest/v1/device")
        connection.getresponse()


def test_the_server_is_signed_by_the_cluster_but_not_named_as_it_is_called(client: Client) -> None:
    import socket

    context = client.context("admin")
    context.check_hostname = True
    address = client.daemon.addresses["master"]
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        context.wrap_socket(socket.create_connection(address), server_hostname="master")
    context.wrap_socket(socket.create_connection(address), server_hostname=SERVER_NAME).close()


def test_the_server_can_be_given_the_names_that_are_called(client: Client) -> None:
    import socket

    client.get("/rest/v1/version")
    client.authority.name_server(("master", "bcm-01"))
    context = client.context("admin")
    context.check_hostname = True
    address = client.daemon.addresses["master"]
    context.wrap_socket(socket.create_connection(address), server_hostname="master").close()


def test_a_change_of_roles_counts_at_the_next_request(client: Client, state: State) -> None:
    assert state.change_roles("dgx-02.cluster.local", ["-slurmclient", "+backup"]) == ["slurmsubmit", "backup"]
    assert client.get("/rest/v1/device?hostname=dgx-02").content[0]["roles"] == ["slurmsubmit", "backup"]


@pytest.mark.parametrize(("fault", "status"), [("http-401", 401), ("http-500", 500)])
def test_a_fault_of_http_answers_with_that_status(client: Client, state: State, fault: str, status: int) -> None:
    state.set_fault(fault, 1)
    assert {client.get(f"/rest/v1/{what}").status for what in ("device", "version", "category")} == {status}
    state.set_fault(fault, None)
    assert client.get("/rest/v1/device").status == 200


def test_not_json_is_a_web_page_with_status_200(client: Client, state: State) -> None:
    state.set_fault("not-json", 1)
    answer = client.get("/rest/v1/device")
    assert answer.status == 200 and answer.headers["Content-Type"] == "text/html"
    with pytest.raises(ValueError):
        _ = answer.content


def test_empty_is_a_list_of_nothing(client: Client, state: State) -> None:
    state.set_fault("empty", 1)
    assert client.get("/rest/v1/device").content == []


def test_half_leaves_out_half_of_the_nodes_and_no_head(client: Client, state: State) -> None:
    state.set_fault("half", 1)
    assert client.names() == [*HEADS, "dgx-01", "dgx-02"]


def test_slow_answers_late_and_at_once_when_it_is_over(client: Client, state: State) -> None:
    state.set_fault("slow", 0.6)
    began = time.monotonic()
    assert client.get("/rest/v1/version").status == 200
    assert time.monotonic() - began >= 0.6
    state.set_fault("slow", None)
    began = time.monotonic()
    client.get("/rest/v1/version")
    assert time.monotonic() - began < 0.5


def test_down_refuses_connections_and_comes_back_on_the_same_port(client: Client, state: State) -> None:
    port = client.daemon.addresses["master"][1]
    state.set_fault("down", 1)
    client.daemon.adjust()
    assert not listens(port) and not client.daemon.open
    state.set_fault("down", None)
    client.daemon.adjust()
    assert client.daemon.addresses["master"][1] == port
    assert client.get("/rest/v1/version").status == 200


def test_down_also_cuts_a_connection_that_was_open(client: Client, state: State) -> None:
    connection = http.client.HTTPSConnection(
        *client.daemon.addresses["master"], context=client.context("admin"), timeout=10
    )
    connection.request("GET", "/rest/v1/version")
    connection.getresponse().read()
    state.set_fault("down", 1)
    connection.request("GET", "/rest/v1/version")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError, ssl.SSLError)):
        connection.getresponse()


def test_a_fault_can_be_of_one_head(client: Client, state: State) -> None:
    state.set_fault("http-500@master", 1)
    assert client.get("/rest/v1/version", "master").status == 500
    assert client.get("/rest/v1/version", "bcm-01").status == 200


def test_the_second_head_is_passive_and_refuses(client: Client) -> None:
    assert client.get("/rest/v1/device", "bcm-01").status == 200
    assert client.get("/rest/v1/device", "bcm-02").status == 503


def test_after_a_failover_only_the_second_head_answers(client: Client, state: State) -> None:
    state.set_fault("passive", 1)
    statuses = {head: client.get("/rest/v1/device", head).status for head in ("master", *HEADS)}
    assert statuses == {"master": 503, "bcm-01": 503, "bcm-02": 200}
    assert "dgx-04" in client.names("bcm-02")


def test_a_passive_head_may_redirect_to_the_active_one(client: Client, state: State) -> None:
    state.set_fault("passive", 1)
    state.set_fault("redirect", 1)
    answer = client.get("/rest/v1/device?hostname=dgx-01")
    port = client.daemon.addresses["bcm-02"][1]
    assert answer.status == 307
    assert answer.headers["Location"] == f"https://bcm-02:{port}/rest/v1/device?hostname=dgx-01"


def test_a_client_that_says_nothing_holds_up_nobody(client: Client) -> None:
    import socket

    with socket.create_connection(client.daemon.addresses["master"]):
        began = time.monotonic()
        assert client.get("/rest/v1/version").status == 200
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("name", ["nonsense", "down@dgx-01", "passive@master", ""])
def test_an_unknown_fault_is_a_mistake(state: State, name: str) -> None:
    with pytest.raises(Mistake, match="There is no fault"):
        state.set_fault(name, 1)


def test_keys_are_readable_by_root_only(client: Client) -> None:
    pairs = (client.authority.root, client.authority.cluster, client.authority.server, client.authority.admin)
    assert {pair.key.stat().st_mode & 0o777 for pair in pairs} == {0o600}


def test_certificates_are_made_once(client: Client) -> None:
    before = client.authority.root.certificate.read_bytes()
    client.authority.ensure()
    assert client.authority.root.certificate.read_bytes() == before
