"""The client of CMDaemon: what it believes, and in which words it says why it believes nothing."""

from __future__ import annotations

import base64
import contextlib
import time
from dataclasses import replace

import pytest
from superpod_dcgm.watcher import cmdaemon
from superpod_dcgm.watcher.cmdaemon import Access
from superpod_dcgm.watcher.device_list import Unknown

from tests.fake_bcm import Authority, FakeBcm, devices, ok

NODE = {"hostname": "dgx-01", "roles": ["slurmclient"], "type": "PhysicalNode", "category": "dgx"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"), "cluster")


@pytest.fixture(scope="module")
def server(authority):
    with FakeBcm(authority) as fake:
        yield fake


@pytest.fixture
def access(authority, server):
    certificate, key = authority.issue("client")
    return Access(["localhost"], server.port, 5, str(authority.file), certificate=certificate, key=key)


def reason(access: Access) -> str:
    with pytest.raises(Unknown) as caught:
        cmdaemon.devices(access)
    return str(caught.value)


@pytest.mark.parametrize("wrap", [lambda items: items, lambda items: {"data": items}])
def test_a_list_is_read_whether_it_stands_alone_or_under_data(access, server, wrap) -> None:
    server.answer = lambda request: ok(wrap([NODE]))
    heard = cmdaemon.devices(access)
    assert heard.head == "localhost"
    assert heard.devices == {"dgx-01": {"roles": ["slurmclient"], "category": "dgx", "type": "PhysicalNode"}}
    assert server.requests[-1] == "/rest/v1/device"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"hostname": "dgx-01"}, {"roles": None, "category": None, "type": None}),
        ({"hostname": "DGX-01.cluster.local", "roles": []}, {"roles": [], "category": None, "type": None}),
        ({"hostname": "dgx-01", "roles": ["B", "a", "b"]}, {"roles": ["a", "b"], "category": None, "type": None}),
        ({"hostname": "dgx-01", "roles": None, "category": 7}, {"roles": None, "category": None, "type": None}),
    ],
)
def test_all_but_the_host_name_may_be_missing(item, expected) -> None:
    assert cmdaemon.parse(ok([item])[2].decode()) == {"dgx-01": expected}


UNREADABLE = {
    "not JSON": ("<html>", "not JSON"),
    "a number": ("1", "not a list of devices but int"),
    "null": ("null", "not a list of devices but NoneType"),
    "an object": ("{}", "not a list of devices but dict"),
    "data that is no list": ('{"data": {}}', "not a list of devices but dict"),
    "the older interface's error": ('{"errormessage": "no such call"}', "it says 'no such call'"),
    "an empty list": ("[]", "empty"),
    "an empty list under data": ('{"data": []}', "empty"),
    "a list of names": ('["dgx-01"]', "device 1 of the answer has no usable hostname"),
    "a device without a name": ('[{"roles": []}]', "device 1 of the answer has no usable hostname: None"),
    "a name that leaves the directory": ('[{"hostname": "../etc/x"}]', "no usable hostname"),
    "an empty name": ('[{"hostname": ""}]', "no usable hostname"),
    "roles as text": ('[{"hostname": "a", "roles": "slurmclient"}]', "roles of 'a' are not a list of names"),
    "roles as objects": ('[{"hostname": "a", "roles": [{"name": "x"}]}]', "roles of 'a' are not a list of names"),
    "two truths": ('[{"hostname": "a", "roles": []}, {"hostname": "a", "roles": ["x"]}]', "'a' twice"),
}


@pytest.mark.parametrize(("text", "expected"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_anything_else_is_unknown_and_says_why(access, server, text, expected) -> None:
    server.answer = lambda request: (200, {}, text.encode())
    assert expected in reason(access)


STATUS = {
    401: ({}, "credential was refused (HTTP 401)"),
    403: ({}, "a new BCM licence makes older ones invalid"),
    307: ({"Location": "https://bcm-02:8081/"}, "a passive head: it points to https://bcm-02:8081/ (HTTP 307)"),
    404: ({}, "HTTP 404 instead of a list"),
    500: ({}, "HTTP 500 instead of a list"),
    503: ({}, "HTTP 503 instead of a list"),
    204: ({}, "HTTP 204 instead of a list"),
}


@pytest.mark.parametrize("status", STATUS)
def test_a_status_other_than_200_is_unknown_even_with_a_list(access, server, status) -> None:
    headers, expected = STATUS[status]
    server.answer = lambda request: (status, headers, devices({"dgx-01": []})[2])
    assert expected in reason(access)


def test_a_slow_head_is_given_up_in_time(access, server) -> None:
    server.answer = lambda request: time.sleep(1.5) or devices({"dgx-01": []})
    began = time.monotonic()
    assert "no answer within 0.3 seconds" in reason(replace(access, timeout=0.3))
    assert time.monotonic() - began < 1


def test_an_answer_that_drips_is_given_up_in_time(access, server) -> None:
    def drip(request):
        request.send_response(200)
        request.send_header("Content-Length", "100")
        request.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(20):
                request.wfile.write(b" ")
                time.sleep(0.1)
        return 200, {}, b""

    server.answer = drip
    began = time.monotonic()
    assert "seconds" in reason(replace(access, timeout=0.4))
    assert time.monotonic() - began < 1.5


def test_nobody_listening_is_a_plain_sentence(access) -> None:
    text = reason(replace(access, port=1))
    assert "no connection to port 1" in text and "refused" in text and "object at" not in text


def test_the_heads_are_tried_in_order_and_all_reasons_are_told(access, server) -> None:
    server.answer = lambda request: devices({"dgx-01": ["slurmclient"]})
    assert cmdaemon.devices(replace(access, heads=["no-such-head.invalid", "localhost"])).head == "localhost"
    server.answer = lambda request: (500, {}, b"")
    text = reason(replace(access, heads=["localhost", "127.0.0.1"]))
    assert text.startswith("localhost: HTTP 500") and "; 127.0.0.1: HTTP 500" in text


def test_the_chain_is_checked_whatever_the_name_check_says(access, server, tmp_path) -> None:
    server.answer = lambda request: devices({"dgx-01": []})
    stranger = str(Authority(tmp_path, "stranger").file)
    assert "TLS failed" in reason(replace(access, ca=stranger))
    assert "certificate" in reason(replace(access, ca=str(tmp_path / "missing.pem")))


@pytest.mark.parametrize("names", [("bcm-head",), ("localhost",)])
def test_the_name_is_checked_where_it_is_asked_for(access, authority, names) -> None:
    with FakeBcm(authority, names) as fake:
        fake.answer = lambda request: devices({"dgx-01": []})
        strict = replace(access, port=fake.port, verify_name=True)
        if names == ("localhost",):
            assert cmdaemon.devices(strict).head == "localhost"
        else:
            assert "Hostname mismatch" in reason(strict)
        assert cmdaemon.devices(replace(strict, verify_name=False)).head == "localhost"


def test_the_client_certificate_is_shown(access, server) -> None:
    seen = []
    server.answer = lambda request: seen.append(request.connection.getpeercert()) or devices({"dgx-01": []})
    cmdaemon.devices(access)
    cmdaemon.devices(replace(access, certificate="", key=""))
    names = [dict(part[0] for part in cert["subject"])["commonName"] if cert else None for cert in seen]
    assert names == ["client", None]


def test_user_and_password_are_used_where_they_are_configured(access, server, tmp_path) -> None:
    (tmp_path / "password").write_text("pä:ss\n")
    seen = []
    server.answer = lambda request: seen.append(request.headers["Authorization"]) or devices({"dgx-01": []})
    cmdaemon.devices(replace(access, user="monitor", password_file=str(tmp_path / "password")))
    assert base64.b64decode(seen[0].split()[1]).decode() == "monitor:pä:ss"
    assert "password file cannot be read" in reason(replace(access, user="monitor", password_file="/nowhere"))


def test_neither_proxy_nor_netrc_of_the_environment_is_used(access, server, monkeypatch, tmp_path) -> None:
    (tmp_path / "netrc").write_text("machine localhost login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    seen = []
    server.answer = lambda request: seen.append(request.headers["Authorization"]) or devices({"dgx-01": []})
    cmdaemon.devices(access)
    assert seen == [None]


@pytest.mark.parametrize("field", ["certificate", "key"])
def test_a_missing_certificate_or_the_administrators_is_refused(access, field) -> None:
    assert "cannot be used" in reason(replace(access, **{field: "/nowhere/client.pem"}))
    assert "read-only certificate" in reason(replace(access, **{field: "/root/.cm/admin.pem"}))


def test_without_heads_the_reason_says_so(access) -> None:
    assert reason(replace(access, heads=[])) == "no BCM head is configured"
