"""The client of CMDaemon: what it believes, and in which words it says why it believes nothing."""

from __future__ import annotations

import base64
import contextlib
import os
import ssl
import time
from dataclasses import replace

import pytest
from superpod_dcgm.watcher import cmdaemon, tls
from superpod_dcgm.watcher.cmdaemon import Access
from superpod_dcgm.watcher.device_list import Heard, Unknown
from urllib3.util.ssl_ import create_urllib3_context

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


def heard(*items: object, run_on: tuple[str, ...] = ("slurmclient",)) -> Heard:
    return cmdaemon.parse(ok(list(items))[2].decode(), "master", run_on)


ODD_ROLES = {
    "a blank inside": "slurm client",
    "a newline inside": "slurm\nclient",
    "a control character": "slurm\x1bclient",
    "too long": "x" * 300,
    "a byte that was no UTF-8": "slurm\ufffdclient",
    "empty": "",
    "a number": 7,
    "nothing": None,
    "a mapping": {"name": "slurmclient"},
}


@pytest.mark.parametrize("odd", ODD_ROLES.values(), ids=ODD_ROLES.keys())
def test_an_odd_role_costs_itself_and_never_stops_a_node(odd) -> None:
    other = {"hostname": "dgx-03", "roles": ["storage"], "type": "PhysicalNode"}
    found = heard({**NODE, "roles": ["slurmclient", odd]}, {**NODE, "hostname": "dgx-02", "roles": ["x", odd]}, other)
    assert {name: device["roles"] for name, device in found.devices.items()} == {
        "dgx-01": ["slurmclient"],
        # What cannot be read may be the role that it runs for.
        "dgx-02": None,
        "dgx-03": ["storage"],
    }
    assert list(found.odd.doubts) == ["dgx-02"] and found.odd.complete
    told = [found.odd.doubts["dgx-02"], *found.odd.problems]
    assert all("cannot be read" in text and len(text) < 200 and text.isprintable() for text in told)


@pytest.mark.parametrize("role", ["generic::containerd", "Generic::DCGM", " slurmclient\n", "a.b_c-d:e"])
def test_roles_of_all_forms_that_bcm_has_are_read_in_lower_case_and_without_blanks(role) -> None:
    found = heard({**NODE, "roles": [role]})
    assert found.devices["dgx-01"]["roles"] == [role.strip().lower()]
    assert not found.odd.doubts and not found.odd.problems


ODD_NAMES = [
    "../",
    "/",
    "dgx-01\n",
    "\0",
    "",
    "a b",
    "x" * 300,
    "-rf",
    "..",
    "{{ x }}",
    "$(id)",
    "dgx-\u0660",
    None,
    7,
    ["a"],
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_a_device_with_an_odd_name_is_told_and_costs_itself(name) -> None:
    found = heard(NODE, {"hostname": name, "roles": [], "type": "EthernetSwitch"})
    assert list(found.devices) == ["dgx-01"] and found.odd.complete
    (told,) = found.odd.problems
    assert told.startswith("device 2 of the answer has no usable hostname") and len(told) < 200 and told.isprintable()
    # It may be the node that the list lacks.
    assert not heard(NODE, {"hostname": name, "roles": [], "type": "PhysicalNode"}).odd.complete
    assert not heard(NODE, {"hostname": name}).odd.complete


def test_two_devices_of_one_short_name_are_told_apart_by_their_names_in_full() -> None:
    found = heard({**NODE, "hostname": "dgx-01.a"}, {**NODE, "hostname": "DGX-01.b", "roles": []})
    assert {name: device["roles"] for name, device in found.devices.items()} == {
        "dgx-01.a": ["slurmclient"],
        "dgx-01.b": [],
    }
    assert found.odd.problems == [
        "dgx-01.a and dgx-01.b are both called dgx-01: they are told apart by their names in full"
    ]


def test_a_device_that_is_listed_twice_with_different_values_is_in_doubt_and_no_other() -> None:
    found = heard(NODE, {**NODE, "hostname": "DGX-01", "roles": []}, {**NODE, "hostname": "dgx-02"})
    assert found.odd.doubts == {"dgx-01": "it is listed 2 times, with different values"}
    assert found.devices["dgx-01"]["roles"] is None and found.devices["dgx-02"]["roles"] == ["slurmclient"]
    same = heard(NODE, {**NODE, "hostname": "DGX-01.cluster"})
    assert list(same.devices) == ["dgx-01"] and not same.odd.doubts


@pytest.mark.parametrize(
    ("ip", "expected"),
    [("10.141.0.1", "10.141.0.1"), ("FD00::1", "fd00::1"), ("0.0.0.0", None), ("", None), (7, None), ("a:1", None)],
)
def test_the_address_is_taken_where_it_is_one(ip, expected) -> None:
    assert heard({**NODE, "ip": ip}).devices["dgx-01"].get("ip") == expected


@pytest.mark.parametrize("value", ["", 7, "a\nb", "x" * 300])
def test_a_category_that_can_be_no_label_counts_as_none(value) -> None:
    assert heard({**NODE, "category": value}).devices["dgx-01"]["category"] is None


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
    assert cmdaemon.parse(ok([item])[2].decode()).devices == {"dgx-01": expected}


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
    "roles as text": (
        '[{"hostname": "a", "roles": "slurmclient"}]',
        "roles of no device can be read: of 'a': roles that cannot be read: 'slurmclient'",
    ),
    "roles as objects": (
        '[{"hostname": "a", "roles": [{"name": "x"}]}]',
        "roles of no device can be read: of 'a': roles",
    ),
    "two truths": ('[{"hostname": "a", "roles": []}, {"hostname": "a", "roles": ["x"]}]', "'a': it is listed 2 times"),
    "nesting without end": ("[" * 100_000, "not JSON"),
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
    assert "not signed by an authority in" in reason(replace(access, ca=stranger))
    assert "certificate" in reason(replace(access, ca=str(tmp_path / "missing.pem")))


@pytest.mark.parametrize("lacks", [{"key_identifier"}, {"critical"}, {"key_identifier", "critical"}])
def test_a_chain_that_is_right_and_of_an_older_form_is_accepted(access, tmp_path, monkeypatch, lacks) -> None:
    """Python 3.13 asks for the form of RFC 5280 by this flag; here it is set as there."""

    def strict(**options):
        context = create_urllib3_context(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(tls, "create_urllib3_context", strict)
    old = Authority(tmp_path, "old", lacks)
    with FakeBcm(old) as fake:
        fake.answer = lambda request: devices({"dgx-01": []})
        there = replace(access, port=fake.port, ca=str(old.file), certificate="", key="")
        assert cmdaemon.devices(there).head == "localhost"
        assert "is not signed by an authority in" in reason(replace(there, ca=access.ca))
        monkeypatch.setattr(tls, "_context", strict)
        text = reason(there)
        assert "the form of the certificate is refused" in text and "not its authority" in text


@pytest.mark.parametrize(("days", "word"), [((-9, -1), "has expired"), ((1, 9), "is not valid yet")])
def test_a_certificate_out_of_its_time_is_refused_and_the_clock_is_named(access, tmp_path, days, word) -> None:
    other = Authority(tmp_path, "other", days=days)
    with FakeBcm(other) as fake:
        text = reason(replace(access, port=fake.port, ca=str(other.file), certificate="", key=""))
    assert word in text and "clock" in text


@pytest.mark.parametrize("names", [("bcm-head",), ("localhost",)])
def test_the_name_is_checked_where_it_is_asked_for(access, authority, names) -> None:
    with FakeBcm(authority, names) as fake:
        fake.answer = lambda request: devices({"dgx-01": []})
        strict = replace(access, port=fake.port, verify_name=True)
        if names == ("localhost",):
            assert cmdaemon.devices(strict).head == "localhost"
        else:
            assert "is for another name" in reason(strict)
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
    os.mkfifo(tmp_path / "fifo")
    for path in ("/nowhere", "/dev/zero", str(tmp_path / "fifo")):
        assert "password file cannot be read" in reason(replace(access, user="monitor", password_file=path))


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
