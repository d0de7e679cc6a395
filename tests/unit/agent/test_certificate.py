"""When the exporter's certificate expires: of the file that a web configuration names, however that is written."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from superpod_dcgm.agent import certificate, metrics
from superpod_dcgm.agent.device_table import Table
from superpod_dcgm.base import paths

# 2031-05-06 07:08:09 UTC, and 20 years later, which is written in another form.
NEAR, FAR = 1935817689, 2566969689


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Certificates by what is special of them, as openssl makes them."""
    folder = tmp_path_factory.mktemp("certificates")
    kinds = {
        "RSA": ("rsa:2048", "20310506070809Z", "/CN=dgx-01/O=A site with a name that is rather long to make it so"),
        "EC": ("ec -pkeyopt ec_paramgen_curve:prime256v1", "20310506070809Z", "/CN=dgx-01"),
        "after 2050": ("rsa:2048", "20510506070809Z", "/CN=dgx-01"),
    }
    found = {}
    for name, (key, end, subject) in kinds.items():
        write(folder, key, end, subject)
        found[name] = (folder / "out.pem").read_bytes()
    return found


def write(folder: Path, key: str, end: str, subject: str) -> None:
    openssl(folder, f"req -new -nodes -newkey {key} -keyout key.pem -out request.pem -subj", subject)
    (folder / "index").write_text("")
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca=x\n[x]\ndatabase=index\nnew_certs_dir=.\npolicy=p\ndefault_md=sha256\nrand_serial=yes\n"
        "[p]\ncommonName=supplied\norganizationName=optional\n"
    )
    words = "ca -batch -notext -config ca.cnf -selfsign -keyfile key.pem -in request.pem -out out.pem"
    openssl(folder, f"{words} -startdate 20260101000000Z -enddate {end}")


def openssl(folder: Path, words: str, *more: str) -> None:
    done = subprocess.run(["openssl", *words.split(), *more], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def web(folder: Path, text: str, content: bytes) -> str:
    (folder / "tls.crt").write_bytes(content)
    (folder / "web.yml").write_text(text.replace("FOLDER", str(folder)))
    return str(folder / "web.yml")


@pytest.mark.parametrize(("kind", "end"), [("RSA", NEAR), ("EC", NEAR), ("after 2050", FAR)])
def test_the_end_of_a_certificate_is_read(made, tmp_path, kind, end) -> None:
    path = web(tmp_path, "tls_server_config:\n  cert_file: FOLDER/tls.crt\n  key_file: FOLDER/tls.key\n", made[kind])
    assert certificate.expiry(path) == end


def test_of_a_chain_what_expires_first_counts(made, tmp_path) -> None:
    path = web(tmp_path, "tls_server_config: {cert_file: tls.crt}\n", made["after 2050"] + b"# next\n" + made["EC"])
    assert certificate.expiry(path) == NEAR


@pytest.mark.parametrize(
    "text",
    [
        'tls_server_config: {"key_file": "x.key", "cert_file": "FOLDER/tls.crt"}\n',
        '{"tls_server_config": {"cert_file":"FOLDER/tls.crt","key_file":"x.key"}}\n',
        "tls_server_config:\n  # cert_file: /etc/old.crt\n  key_file: x\n  cert_file: 'tls.crt'  # of the node\n",
        "tls_server_config:\n    cert_file:   tls.crt\n",
    ],
)
def test_the_file_is_found_however_it_is_written(made, tmp_path, text) -> None:
    assert certificate.expiry(web(tmp_path, text, made["RSA"])) == NEAR


def test_a_page_without_tls_has_none(made, tmp_path) -> None:
    assert certificate.expiry("") is None
    text = "basic_auth_users: {prometheus: x}\n# tls_server_config: {cert_file: tls.crt}\n"
    assert certificate.expiry(web(tmp_path, text, made["RSA"])) is None


WRONG = {
    "none": b"",
    "a key": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "no base64": b"-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n",
    "zeros": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
}


@pytest.mark.parametrize("content", [*WRONG.values(), None], ids=[*WRONG, "half of one"])
def test_one_that_cannot_be_read_is_named_and_gives_no_metric(made, tmp_path, monkeypatch, content) -> None:
    if content is None:
        half = base64.b64decode(made["EC"].split(b"-----")[2])[:60]
        content = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(half) + b"\n-----END CERTIFICATE-----\n"
    path = web(tmp_path, "cert_file: tls.crt\n", content)
    with pytest.raises(ValueError, match=f"{tmp_path}/tls.crt has "):
        certificate.expiry(path)
    assert page(tmp_path, monkeypatch, path) == []


def test_nodes_tell_when_it_expires(made, tmp_path, monkeypatch) -> None:
    path = web(tmp_path, "cert_file: tls.crt\n", made["RSA"])
    assert page(tmp_path, monkeypatch, path) == [str(NEAR)]
    (tmp_path / "tls.crt").unlink()
    assert page(tmp_path, monkeypatch, path) == []


def page(folder: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> list[str]:
    """Return the values of the metric on the page of a node whose exporter has this web configuration."""
    monkeypatch.setattr(paths, "KERNEL_LOG", str(folder / "kernel-log.json"))
    metrics.write({"textfile": str(folder), "web_config": path}, Table(), True)
    lines = (folder / paths.TEXTFILE).read_text().splitlines()
    return [line.split()[1] for line in lines if line.startswith("superpod_dcgm_exporter_certificate_expiry_")]
