"""Questions about pages: metrics, labels, values, headers, devices, and the program's own counters."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any

from subject import Answer, Subject

UTILISATION = ("GPU_UTIL", "MEM_COPY_UTIL", "ENC_UTIL", "DEC_UTIL")


def name(sample: str) -> str:
    """Return the metric of a sample."""
    return sample.partition("{")[0]


def unique(names: list[str]) -> list[str]:
    """Return what is there, in order, once."""
    return list(dict.fromkeys(names))


def masked(sample: str) -> str:
    """Return a sample without what differs from machine to machine."""
    text = re.sub(r'(UUID|uuid|pci_bus_id)="[^"]*"', r'\1="…"', sample)
    return text.replace(f'ostname="{socket.gethostname()}"', 'ostname="…"')


def labels(sample: str) -> list[str]:
    """Return the names of a sample's labels in order."""
    return re.findall(r'[{,](\w+)="', sample)


def samples(subject: Subject, metric: str) -> list[str]:
    """Return the samples of a metric."""
    return [line for line in subject.page() if name(line) == metric]


def shape(value: str) -> str:
    """Return what kind of number a value is."""
    return "integer" if re.fullmatch(r"\d+", value) else "six decimals" if re.fullmatch(r"\d+\.\d{6}", value) else value


def head(answer: Answer) -> list[str]:
    """Return status, type and whether a browser may guess another."""
    names = ("Content-Type", "X-Content-Type-Options")
    return [str(answer.status), *(answer.headers.get(one, "none") for one in names)]


def order_of_metrics(subject: Subject) -> Any:
    """Metrics of the release's own counters file, as they come."""
    return unique([name(line) for line in subject.run().page()])


def types_and_help(subject: Subject) -> Any:
    """What stands before the samples of a metric."""
    subject.replace_counters("DCGM_FI_DEV_GPU_UTIL, gauge, how busy\nDCGM_FI_DEV_GPU_TEMP,counter,\n")
    return [line for line in subject.run().get().text.splitlines() if line.startswith("#")]


def labels_of_a_gpu(subject: Subject) -> Any:
    """One sample of a whole GPU, and how many there are."""
    found = samples(subject.run(), "DCGM_FI_DEV_FB_RESERVED") or samples(subject, "DCGM_FI_DEV_MEM_CLOCK")
    return [len(found), labels(found[7])]


def labels_of_an_xid(subject: Subject) -> Any:
    """An XID on a GPU that a job has."""
    subject.map.mkdir()
    (subject.map / "3").write_text("4711\n")
    subject.run("--hpc-job-mapping-dir", str(subject.map))
    return masked(samples(subject, "DCGM_FI_DEV_XID_ERRORS")[3])


def shapes_of_values(subject: Subject) -> Any:
    """Which metrics are written with decimals; all others are whole numbers."""
    kinds = {name(line): shape(line.rpartition(" ")[2]) for line in subject.run().page()}
    assert set(kinds.values()) <= {"integer", "six decimals"}, kinds
    return sorted(metric for metric, kind in kinds.items() if kind != "integer")


def headers(subject: Subject) -> Any:
    """Type of a page, whatever was asked for."""
    subject.run()
    asked = subject.get(Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.1")
    return {"page": head(subject.get()), "openmetrics": head(asked)}


def headers_of_an_empty_page(subject: Subject) -> Any:
    """Type of a page on which nothing is."""
    subject.replace_counters("# nothing\n")
    return [*head(subject.run().get()), subject.get().text]


def host_label(subject: Subject) -> Any:
    """The host by the engine's address as it was given."""
    subject.use_engine()
    found = {}
    for address in ("localhost", "127.0.0.1"):
        subject.start(remote=address)
        assert subject.serves(), subject.log()
        host = re.search(r'(\w*ostname)="([^"]*)"', subject.page()[0])
        machine = host and host[2] not in ("localhost", "127.0.0.1")
        found[address] = [host[1], "the machine's name" if machine else host[2]] if host else None
        subject.process and subject.process.kill()
        subject.ends()
    return found


def no_host_label_option(subject: Subject) -> Any:
    """Whether -n leaves the host out."""
    return labels(subject.run("-n").page()[0])


def old_namespace_option(subject: Subject) -> Any:
    """What -o calls the UUID."""
    return labels(subject.run("-o").page()[0])[:2]


def several_labels(subject: Subject) -> Any:
    """In which order labels from the counters file come."""
    rows = ("SERIAL", "NAME", "BRAND")
    extra = "".join(f"DCGM_FI_DEV_{row}, label, x\n" for row in rows if row != "NAME")
    subject.replace_counters(f"{extra}DCGM_FI_DRIVER_VERSION,label,x\nDCGM_FI_DEV_GPU_TEMP, gauge, heat\n")
    found = labels(subject.run().page()[0])
    return [one for one in found if one in ("DCGM_FI_DEV_SERIAL", "DCGM_FI_DRIVER_VERSION")]


def field_twice(subject: Subject) -> Any:
    """A field with two lines in the counters file."""
    subject.replace_counters("DCGM_FI_DEV_GPU_TEMP, gauge, first\nDCGM_FI_DEV_GPU_TEMP, counter, second\n")
    lines = subject.run().get().text.splitlines()
    return [*lines[:2], len(lines)]


def old_name(subject: Subject) -> Any:
    """A field by its name of old."""
    subject.replace_counters("dcgm_gpu_temp, gauge, heat\n")
    return unique([name(line) for line in subject.run().page()])


def divided_gpus(subject: Subject) -> Any:
    """What is shown of a divided GPU: its instances by NVML's id, and the utilisation rows that they lack."""
    subject.run(profile="mig")
    part, whole = ([line for line in subject.page() if f'gpu="{gpu}"' in line] for gpu in (0, 2))
    lacks = {name(line) for line in whole} - {name(line) for line in part}
    clock = [line for line in part if name(line) == "DCGM_FI_DEV_SM_CLOCK"]
    return {
        "instances": [re.findall(r'GPU_I_(?:PROFILE|ID)="([^"]*)"', line) for line in clock],
        "labels": labels(clock[0]),
        "lacks": sorted(lacks),
    }


def chosen_devices(subject: Subject) -> Any:
    """What -d shows: GPUs and instances, or the exit code."""
    subject.replace_counters("DCGM_FI_DEV_FB_USED, gauge, x\n")
    subject.use_engine("mig")
    found: dict[str, Any] = {}
    for devices in ("f", "g", "g:0-2", "g:1,3", "g:0,99", "i", "i:0,8", "i:0-2", "i:99", "g+i", "x", "f:1"):
        subject.start("-d", devices)
        if subject.serves():
            text = subject.get().text
            found[devices] = " ".join(f"{gpu}.{gi}" if gi else gpu for gpu, gi in _entities(text))
            subject.process and subject.process.kill()
        code = subject.ends()
        found.setdefault(devices, f"exit {code}")
    return found


def _entities(text: str) -> list[tuple[str, str]]:
    return re.findall(r'gpu="(\d+)"[^}]*?(?:GPU_I_ID="(\d+)"|})', text)


def own_counters(subject: Subject) -> Any:
    """The program's own counters: how many rows, and the labels of the first after those of each GPU."""
    own = ("DCGM_EXP_XID_ERRORS_COUNT", "DCGM_EXP_CLOCK_EVENTS_COUNT", "DCGM_EXP_GPU_HEALTH_STATUS")
    subject.replace_counters("".join(f"{one}, gauge, x\n" for one in own) + "DCGM_FI_DEV_GPU_TEMP, gauge, x\n")
    return _own(subject)


def peers(subject: Subject) -> Any:
    """Whether GPUs reach each other: rows and labels, or the exit code of a release that has no such counter."""
    subject.replace_counters("DCGM_EXP_P2P_STATUS, gauge, x\nDCGM_FI_DEV_GPU_TEMP, gauge, x\n")
    subject.use_engine()
    subject.start()
    return _own(subject, False) if subject.serves() else f"exit {subject.ends()}"


def _own(subject: Subject, start: bool = True) -> dict[str, Any]:
    page = (subject.run() if start else subject).page()
    found: dict[str, Any] = {}
    for metric in unique([name(line) for line in page]):
        rows = [line for line in page if name(line) == metric]
        found[metric] = [len(rows), masked(rows[0]).partition('modelName="')[2].partition(",")[2]]
    found.pop("DCGM_FI_DEV_GPU_TEMP")
    return {"order": unique([name(line) for line in page]), **found}


def health(subject: Subject) -> Any:
    """What /health says."""
    found = subject.run().get("/health")
    return [found.status, found.text, found.headers.get("X-Registry-Available", "none")]


def other_paths(subject: Subject) -> Any:
    """Status of other pages."""
    subject.run()
    return [subject.get(path).status for path in ("/", "/nothing")]


QUESTIONS: list[Callable[[Subject], Any]] = [
    order_of_metrics, types_and_help, labels_of_a_gpu, labels_of_an_xid, shapes_of_values, headers,
    headers_of_an_empty_page, host_label, no_host_label_option, old_namespace_option, several_labels, field_twice,
    old_name, divided_gpus, chosen_devices, own_counters, peers, health, other_paths,
]  # fmt: skip
