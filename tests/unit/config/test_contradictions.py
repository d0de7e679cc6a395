"""Values that are allowed alone and not together stop everything with a sentence that names the wrong key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from superpod_dcgm.config import matches, resolve

ROOT = Path(__file__).parents[3]
DEFAULTS, SCHEMA, COMPATIBILITY = (
    yaml.safe_load((ROOT / f"salt/dcgm/{name}.yaml").read_text()) for name in ("defaults", "schema", "compatibility")
)
HASH = f"$2y$05${'a' * 53}"
TLS = {"tls": {"certificate": "/c.pem", "key": "/k.pem"}}
OTHERS_COMMIT = COMPATIBILITY["releases"]["4.4.2-4.7.1"]["commit"]


def configuration(pillar: dict[str, Any]) -> dict[str, Any]:
    return resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, pillar)


# name: (pillar, words of the one sentence)
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "the exporter on the engine's port": ({"exporter": {"port": 5555}}, ("exporter:port", "the DCGM host engine")),
    "on the port of an engine elsewhere": (
        {"exporter": {"engine_address": "localhost:5566", "port": 5566}},
        ("exporter:port: 5566", "the DCGM host engine"),
    ),
    "on CMDaemon's": ({"metrics": {"port": 8081}}, ("metrics:port", "CMDaemon")),
    "on slurmd's": ({"exporter": {"port": 6818}}, ("exporter:port", "slurmd")),
    "on the Salt master's": ({"metrics": {"port": 4505}}, ("metrics:port", "Salt master")),
    "two of ours, and only one was written": (
        {"exporter": {"port": 9401}},
        ("dcgm:exporter:port: 9401 belongs to the service of our own metrics (dcgm:metrics:port)",),
    ),
    "the other one was written": (
        {"metrics": {"port": 9400}},
        ("dcgm:metrics:port: 9400 belongs to the exporter (dcgm:exporter:port)",),
    ),
    "our Prometheus on the exporter's": (
        {"hosts": {"monitoring": "m"}, "prometheus": {"port": 9400}},
        ("dcgm:prometheus:port: 9400 belongs to the exporter",),
    ),
    "a port that only root may have": ({"exporter": {"port": 443}}, ("dcgm:exporter:port: 443", "only root", "1024")),
    "the same for our metrics": (
        {"metrics": {"port": 80}, "exporter": {"engine": "embedded"}},
        ("dcgm:metrics:port: 80",),
    ),
    "an engine's port that is none": ({"exporter": {"engine_address": "h:70000"}}, ("engine_address", "70000")),
    "an unknown release": (
        {"exporter": {"release": "4.5.9-4.8.2"}},
        (
            "dcgm:exporter:release: '4.5.9-4.8.2' is unknown; known are 3.3.6-3.4.2,",
            "give exporter:commit; it is then taken to behave as 4.5.3-4.8.2",
        ),
    ),
    "one of which no Go is known either": (
        {"exporter": {"release": "4.7.1-4.9.1"}},
        ("'4.7.1-4.9.1'", "give exporter:commit and go:version and go:sha256", "taken to behave as 4.9.0"),
    ),
    "a release before the first": ({"exporter": {"release": "2.0.0-1.0.0"}}, ("release", "known are 3.3.6")),
    "the commit of another release": (
        {"exporter": {"commit": OTHERS_COMMIT}},
        (f"dcgm:exporter:commit: {OTHERS_COMMIT} is the commit of release 4.4.2-4.7.1, not of 4.5.3-4.8.2",),
    ),
    "a pinned Go that is too old": ({"go": {"version": "1.21.5"}}, ("dcgm:go:version: 1.21.5 is older than 1.26.0",)),
    "a pinned Go that nobody knows": ({"go": {"version": "1.30.1"}}, ("dcgm:go:version: Go 1.30.1 is unknown",)),
    "an address with a port": ({"exporter": {"address": "10.0.0.1:9400"}}, ("exporter:address", "exporter:port")),
    "one of IPv6 with a port": ({"exporter": {"address": "[::1]:9400"}}, ("exporter:address", "exporter:port")),
    "one of IPv6 without brackets": ({"exporter": {"address": "fd00::1"}}, ("exporter:address", "[fd00::1]")),
    "no address at all": ({"exporter": {"address": "10.0.300.1"}}, ("exporter:address", "is no address")),
    "the port by way of the environment": (
        {"exporter": {"environment": {"DCGM_EXPORTER_LISTEN": ":9500"}}},
        ("dcgm:exporter:environment:DCGM_EXPORTER_LISTEN", "exporter:port"),
    ),
    "our own unit as an engine": (
        {"exporter": {"engine_units": ["dcgm-exporter.service"]}},
        ("engine_units", "dcgm-exporter.service"),
    ),
    "half of a password": ({"prometheus": {"user": "x"}}, ("dcgm:prometheus:password_file", "user needs it", "both")),
    "half of a certificate": (
        {"exporter": {"tls": {"certificate": "/c"}}},
        ("dcgm:exporter:tls:key: it is empty, and certificate needs it",),
    ),
    "a user without a hash": (
        {"exporter": {"basic_auth": {"user": "p", "password_file": "/p"}}},
        ("dcgm:exporter:basic_auth:hash", "user needs it"),
    ),
    "no file from which Prometheus has the password": (
        {"hosts": {"monitoring": "m"}, "exporter": {"basic_auth": {"user": "p", "hash": HASH}}},
        ("dcgm:exporter:basic_auth:password_file: it is empty",),
    ),
    "an authority of nothing": (
        {"exporter": {"tls": {"ca": "/ca"}}},
        ("dcgm:exporter:tls:ca: '/ca' means nothing without certificate and key",),
    ),
    "two web configurations": (
        {"exporter": {**TLS, "web_config": "/etc/site.yml"}},
        ("dcgm:exporter:web_config: /etc/site.yml is the site's own", "either"),
    ),
    "two ways to say how Prometheus gets in": (
        {"exporter": TLS, "prometheus": {"ca": "/ca"}},
        ("dcgm:prometheus:ca: it goes with exporter:web_config",),
    ),
    "a page of ours that these states cannot ask": (
        {"prometheus": {"web": {"user": "p", "hash": HASH}}},
        ("dcgm:prometheus:web:password_file: it is empty",),
    ),
    "a faster scrape": (
        {"hosts": {"monitoring": "m"}, "prometheus": {"scrape_interval": "15s"}},
        ("dcgm:prometheus:scrape_interval: 15s is not dcgm:exporter:interval, 30000 ms", "several times"),
    ),
    "a slower one": (
        {"hosts": {"monitoring": "m"}, "exporter": {"interval": 10000}},
        ("dcgm:exporter:interval: 10000 ms is not dcgm:prometheus:scrape_interval, 30s", "miss samples"),
    ),
    "an interval by the environment": (
        {
            "hosts": {"monitoring": "m"},
            "exporter": {"interval": 60000, "environment": {"DCGM_EXPORTER_INTERVAL": "5"}},
            "prometheus": {"scrape_interval": "1m"},
        },
        ("scrape_interval: 1m is not dcgm:exporter:environment:DCGM_EXPORTER_INTERVAL, 5 ms",),
    ),
    "a directory that systemd would read otherwise": (
        {"prometheus": {"data": "/srv/%h/prometheus"}},
        ("dcgm:prometheus:data: '/srv/%h/prometheus' is not allowed", "without any of %"),
    ),
    "a program that it would not find": (
        {"prometheus": {"program": "/opt/$VERSION/prometheus"}},
        ("dcgm:prometheus:program: '/opt/$VERSION/prometheus' is not allowed",),
    ),
    "a user without a password, of a Prometheus of others": (
        {"prometheus": {"mode": "existing", "web": {"user": "p"}}},
        ("dcgm:prometheus:web:password_file: it is empty, and user needs it",),
    ),
    **{
        f"{key}, which nobody would write": (
            {"prometheus": {"mode": "existing", key: value}},
            (f"dcgm:prometheus:{key}: with mode existing nothing of it is written",),
        )
        for key, value in {
            "remote_write": [{"url": "http://x"}],
            "scrape_configs": [{"job_name": "a"}],
            "external_labels": {"site": "a"},
        }.items()
    },
    **{
        f"{key} at {place}, which is ours": ({"prometheus": {key: place}}, (f"dcgm:prometheus:{key}: {place}", words))
        for key, place, words in (
            ("config", "/etc/superpod-prometheus/web.yml", "choose another name"),
            ("config", "/etc/superpod-prometheus/rules/prometheus.yml", "choose another name"),
            ("data", "/etc/superpod-prometheus", "choose another directory"),
            ("data", "/etc/superpod-prometheus/data", "choose another directory"),
        )
    },
    "a secret in the pillar": (
        {"prometheus": {"remote_write": [{"url": "http://x", "basic_auth": {"username": "u", "password": "p"}}]}},
        ("dcgm:prometheus:remote_write[0]:basic_auth:password: the pillar is no place", "give password_file"),
    ),
    "one in a job of the site": (
        {"prometheus": {"scrape_configs": [{"job_name": "a", "authorization": {"credentials": "x"}}]}},
        ("dcgm:prometheus:scrape_configs[0]:authorization:credentials:", "credentials_file"),
    ),
    "one of digits": (
        {"prometheus": {"scrape_configs": [{"job_name": "a", "basic_auth": {"username": "u", "password": 1234}}]}},
        ("dcgm:prometheus:scrape_configs[0]:basic_auth:password: the pillar is no place",),
    ),
    "one in an address": (
        {"prometheus": {"remote_write": [{"url": "https://me:secret@mimir/api/v1/push"}]}},
        ("dcgm:prometheus:remote_write[0]:url: the address has a user or password", "password_file"),
    ),
    "a key itself": (
        {"prometheus": {"remote_write": [{"url": "http://x", "tls_config": {"key": "-----BEGIN"}}]}},
        ("dcgm:prometheus:remote_write[0]:tls_config:key:", "key_file"),
    ),
    "a token of a discovery": (
        {"prometheus": {"scrape_configs": [{"job_name": "a", "consul_sd_configs": [{"server": "c", "token": "t"}]}]}},
        ("dcgm:prometheus:scrape_configs[0]:consul_sd_configs[0]:token:", "credentials_file"),
    ),
    "one in a header": (
        {"prometheus": {"scrape_configs": [{"job_name": "a", "http_headers": {"X": {"secrets": ["t"]}}}]}},
        ("dcgm:prometheus:scrape_configs[0]:http_headers:X:secrets:", "files"),
    ),
    "an external label with a variable": (
        {"prometheus": {"external_labels": {"site": "a$HOME"}}},
        ("dcgm:prometheus:external_labels:site: 'a$HOME' has a $",),
    ),
    "an external label that is Prometheus' own": (
        {"prometheus": {"external_labels": {"__name__": "a"}}},
        ("dcgm:prometheus:external_labels:__name__:", "Prometheus' own"),
    ),
    "a label that the watcher sets": ({"targets": {"labels": {"host": "x"}}}, ("dcgm:targets:labels:host",)),
    "a label that the metrics have": ({"targets": {"labels": {"gpu": "x"}}}, ("dcgm:targets:labels:gpu",)),
    "a label that only our own metrics have": (
        {"targets": {"labels": {"partition": "x"}}},
        ("dcgm:targets:labels:partition: the metrics have a label of this name",),
    ),
    "a job of the name of ours": (
        {"prometheus": {"scrape_configs": [{"job_name": "superpod-dcgm-exporter"}]}},
        ("dcgm:prometheus:scrape_configs[0]", "superpod-dcgm-exporter"),
    ),
    "two jobs of one name": (
        {"prometheus": {"scrape_configs": [{"job_name": "a"}, {"job_name": "a"}]}},
        ("dcgm:prometheus:scrape_configs[1]", "there is a job a already"),
    ),
    "a job without a name": ({"prometheus": {"scrape_configs": [{}]}}, ("scrape_configs[0]: job_name is missing",)),
    "Go where the build is emptied": (
        {"go": {"directory": "/opt/dcgm-exporter-deployment/dcgm-go"}},
        ("dcgm:go:directory", "exporter:build:directory"),
    ),
    "one directory twice": (
        {"targets": {"directory": "/cm/shared/apps/dcgm-exporter/artifacts"}},
        ("dcgm:targets:directory", "exporter:store"),
    ),
    "a match that Salt cannot read": ({"hosts": {"nodes": "dgx-01,dgx-02"}}, ("dcgm:hosts:nodes", "L@dgx-01,dgx-02")),
}


@pytest.mark.parametrize(("pillar", "words"), CASES.values(), ids=CASES.keys())
def test_a_contradiction_is_one_sentence(pillar: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(resolve.ConfigurationError) as caught:
        configuration(pillar)
    (sentence,) = str(caught.value).splitlines()
    assert [word for word in words if word not in sentence] == []


ALLOWED = {
    "the defaults": {},
    "an engine of its own is root's": {"exporter": {"port": 443, "engine": "embedded"}},
    "nobody listens on a port that is switched off": {"metrics": {"port": 9400, "enabled": False}},
    "nor where a Prometheus of others is asked": {
        "hosts": {"monitoring": "m"},
        "prometheus": {"mode": "existing", "port": 9400},
    },
    "an unlisted release whose commit is given": {"exporter": {"release": "4.5.9-4.8.2", "commit": "a" * 40}},
    "a new release with all that is asked for": {
        "exporter": {"release": "4.7.1-4.9.1", "commit": "a" * 40},
        "go": {"version": "1.27.4", "sha256": {"amd64": "b" * 64}},
    },
    "an old Go where nothing is known of what is needed": {
        "exporter": {"release": "4.7.1-4.9.1", "commit": "a" * 40},
        "go": {"version": "1.26.2"},
    },
    "an unlisted release that is not built": {"exporter": {"release": "4.5.9-4.8.2", "method": "artifact"}},
    "a fork of a known release": {"exporter": {"commit": "b" * 40}},
    "a newer Go with its checksum": {"go": {"version": "1.30", "sha256": {"amd64": "c" * 64}}},
    "all addresses of IPv6": {"exporter": {"address": "[::]"}},
    "a name": {"exporter": {"address": "gpu-net"}},
    "what the exporter alone goes by": {"exporter": {"environment": {"DCGM_EXPORTER_INTERVAL": "5"}}},
    "equal intervals": {
        "hosts": {"monitoring": "m"},
        "exporter": {"interval": 60000},
        "prometheus": {"scrape_interval": "1m"},
    },
    "any interval where no Prometheus is": {"exporter": {"interval": 500}},
    "a site's own web configuration": {
        "exporter": {"web_config": "/etc/site.yml"},
        "prometheus": {"scheme": "https", "ca": "/ca", "user": "p", "password_file": "/p"},
    },
    "addresses without a user": {
        "prometheus": {
            "remote_write": [{"url": "https://mimir/push/a@b", "headers": {"X-Scope-OrgID": "me@here"}}],
            "scrape_configs": [{"job_name": "a", "static_configs": [{"targets": ["b"], "labels": {"key": "c"}}]}],
        },
    },
    "a Prometheus of others that wants a password": {
        "prometheus": {"mode": "existing", "web": {"user": "p", "password_file": "/p", "ca": "/ca"}},
    },
    "TLS and users of this project": {
        "hosts": {"monitoring": "m"},
        "exporter": {**TLS, "basic_auth": {"user": "p", "hash": HASH, "password_file": "/p"}},
    },
    "a job of a site with the name that exporters have as a label": {
        "prometheus": {"scrape_configs": [{"job_name": "dcgm-exporter"}]},
    },
    "another label": {"targets": {"labels": {"rack": "r1"}}},
}


@pytest.mark.parametrize("pillar", ALLOWED.values(), ids=ALLOWED.keys())
def test_what_fits_together_is_allowed(pillar: dict[str, Any]) -> None:
    assert configuration(pillar)["exporter"]["facts"]


# match: words of what is wrong with it; none where it is right
MATCHES = {
    "": "",
    "*dgx*": "",
    "dgx-01 or dgx-02": "",
    "L@dgx-01,dgx-02 and not G@os:Ubuntu": "",
    "( dgx-* or E@gpu[0-9]+(a|b) ) and not *-old": "",
    "not dgx-09": "",
    "G|@os|Ubuntu": "",
    "S@10.0.0.0/24": "",
    "N@gpus": "",
    "dgx-0[12]": "",
    "dgx-[!0]*": "",
    " ": "only spaces",
    "dgx-01,dgx-02": "L@dgx-01,dgx-02",
    "dgx-01, dgx-02": "L@dgx-01,dgx-02",
    "L@dgx-01, dgx-02": "stops too early",
    "dgx-01 dgx-02": "nothing joins dgx-01 and dgx-02",
    "dgx-* and": "and has nothing after it",
    "or dgx-*": "or has nothing before it",
    "dgx-* and or x": "or has nothing before it",
    "( dgx-*": "not closed",
    "dgx-* )": "closed that was never opened",
    "(dgx-* or gpu-*)": "spaces around the parentheses",
    "dgx-* AND gpu-*": "AND in lower case",
    "l@dgx-01": "write L@",
    "X@dgx-01": "X@ is unknown",
    "E@dgx-[": "no regular expression",
    "G@": "stops too early",
    "G@os": "G@name:value",
    "S@10.0.0.300": "no address",
    "dgx-[01-32]": "how Slurm writes names",
    "dgx-[01,02]": "how Slurm writes names",
}


@pytest.mark.parametrize(("match", "words"), MATCHES.items())
def test_a_match_that_salt_would_take_for_nobody_is_explained(match: str, words: str) -> None:
    found = matches.problem(match)
    assert (words in found) if words and found else (found is None) == (not words)
