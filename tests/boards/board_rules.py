"""What a dashboard of ours must be: each rule takes all dashboards and returns a sentence for each breach."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

from board_files import Json, name, overrides, panels, strings, targets, units, used, variables
from superpod_dcgm.monitoring import alerts_nodes, alerts_xids, metric_names, recording

Boards = dict[str, Json]
TAG = "superpod-dcgm"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
SECONDS = {"s": 1, "m": 60, "h": 3600}
LINES = ("timeseries", "state-timeline", "heatmap")
# What Prometheus, our own metrics and a node_exporter give; the exporter's names stand in metric_names.
OTHERS = {
    *("up", "ALERTS", "ALERTS_FOR_STATE", "scrape_duration_seconds"),
    *("DCGM_EXP_GPU_HEALTH_STATUS", "DCGM_EXP_CLOCK_EVENTS_COUNT"),
    *("superpod_dcgm_info", "superpod_dcgm_gpus_freed", "superpod_dcgm_kernel_log_ok"),
    *(f"superpod_dcgm_nodes_{kind}" for kind in ("wanted", "unknown", "owed")),
    *(f"superpod_dcgm_watcher_{kind}_timestamp_seconds" for kind in ("poll", "answer")),
    *(f"dcgm_job_map_{kind}" for kind in ("device_table_ok", "device_table_guessed", "reconcile_ok")),
}
NODE_EXPORTER = {
    *("node_cpu_seconds_total", "node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"),
    *("node_filesystem_avail_bytes", "node_filesystem_size_bytes"),
    *(f"node_network_{way}_bytes_total" for way in ("receive", "transmit")),
    *(f"node_disk_{way}_bytes_total" for way in ("read", "written")),
    *(f"node_infiniband_port_data_{way}_bytes_total" for way in ("received", "transmitted")),
    "node_infiniband_link_downed_total",
}
LABELS = {
    *("cluster", "host", "gpu", "GPU_I_ID", "hpc_job", "user", "account", "partition", "job", "le"),
    *("alertname", "alertstate", "severity", "xid", "clock_event", "health_watch", "device", "fstype", "mode"),
}
RECORDS = {rule["record"] for group in recording.groups(recording.Settings()) for rule in group["rules"]}
RECORDS |= {alerts_nodes.GPUS, alerts_xids.OF_DCGM, alerts_xids.OF_KERNEL}
COUNTERS = {text for one in metric_names.METRICS.values() if one.kind == "counter" for text in (one.old, one.new)}
SELECTOR = re.compile(r"([A-Za-z_:][\w:]*)\{((?:[^{}\"]|\"[^\"]*\")*)\}")
MATCHER = re.compile(r"(\w+)(=~|!~|!=|=)\"([^\"]*)\"")
_CALLED = re.compile(r"\b(?:rate|irate|increase)\(\s*([A-Za-z_:][\w:]*)?")
_NAME = re.compile(r"[A-Za-z_:][\w:]*")
_STRING = re.compile(r"\"[^\"]*\"")


def _each_target(boards: Boards, judge: Callable[[Json, Json], list[str]]) -> list[str]:
    return [
        f"{file}: {name(panel)} {target.get('refId')}: {found}"
        for file, board in boards.items()
        for panel, target in targets(board)
        for found in judge(panel, target)
    ]


def _each_panel(boards: Boards, judge: Callable[[Json], list[str]]) -> list[str]:
    return [
        f"{file}: {name(panel)}: {found}"
        for file, board in boards.items()
        for panel in panels(board)
        for found in judge(panel)
    ]


def identities(boards: Boards) -> list[str]:
    """Uid and title of each are its own: the same twice takes a provider's right to write away."""
    found = [
        f"{key} {value!r} is there {count} times"
        for key in ("uid", "title")
        for value, count in Counter(board.get(key) for board in boards.values()).items()
        if count > 1
    ]
    for file, board in boards.items():
        uid = board.get("uid", "")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", uid) or file != f"{uid}.json":
            found.append(f"{file}: uid {uid!r}")
        found += [f"{file}: {key} is the server's" for key in ("id", "version", "iteration") if board.get(key)]
    return found


def commonplaces(boards: Boards) -> list[str]:
    """All have our tag and the user's time zone, nobody edits them in place, and none asks more often than 30 s."""
    found = []
    for file, board in boards.items():
        right = {"tags": [TAG], "timezone": "browser", "editable": False, "schemaVersion": 42}
        found += [f"{file}: {key} is {board.get(key)!r}" for key, value in right.items() if board.get(key) != value]
        refresh = board.get("refresh") or "0s"
        if int(refresh[:-1]) * SECONDS[refresh[-1]] < 30:
            found.append(f"{file}: refresh {refresh}")
        ways = [link for link in board["links"] if link["type"] == "dashboards" and link["tags"] == [TAG]]
        if not any(link["keepTime"] and link["includeVars"] and "placement" not in link for link in ways):
            found.append(f"{file}: no links to the other dashboards with time and variables")
    return found


def places(boards: Boards) -> list[str]:
    """Panels have numbers and titles of their own, and lie side by side, not on one another."""
    found = []
    for file, board in boards.items():
        every = [*board["panels"], *(panel for row in board["panels"] for panel in row.get("panels", ()))]
        found += [f"{file}: id {i} is there {n} times" for i, n in Counter(p.get("id") for p in every).items() if n > 1]
        found += [f"{file}: {name(panel)} has no id" for panel in every if not panel.get("id")]
        found += [
            f"{file}: panel {p['id']} has no title" for p in panels(board) if not p["title"] and p["type"] != "text"
        ]
        for group in (board["panels"], *(row["panels"] for row in board["panels"] if row.get("panels"))):
            taken = Counter(cell for panel in group for cell in _cells(panel["gridPos"]))
            if any(count > 1 or not 0 <= x < 24 for (x, _), count in taken.items()):
                found.append(f"{file}: panels lie on one another")
    return found


def _cells(place: Json) -> list[tuple[int, int]]:
    columns, lines = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
    return [(x, y) for x in columns for y in lines]


def data_sources(boards: Boards) -> list[str]:
    """Everything asks the data source that is chosen."""
    found = []
    for file, board in boards.items():
        first = board["templating"]["list"][0]
        if (first["name"], first["type"], first["query"]) != ("datasource", "datasource", "prometheus"):
            found.append(f"{file}: the first variable is no data source")
        asking = [panel for panel in panels(board) if panel["type"] != "text"]
        asking += [target for _, target in targets(board)]
        asking += [variable for variable in variables(board).values() if variable["type"] == "query"]
        asking += board["annotations"]["list"]
        found += [
            f"{file}: {one.get('title') or one.get('name') or one.get('refId')} asks {one.get('datasource')}"
            for one in asking
            if one.get("datasource") != DATASOURCE
        ]
    return found


def no_values(boards: Boards) -> list[str]:
    """What is not there is called so; it is not 0."""

    def judge(panel: Json) -> list[str]:
        said = panel.get("fieldConfig", {}).get("defaults", {}).get("noValue")
        # Of alerts and XIDs there are rows only if something happened.
        right = {"not reported"} if panel["type"] == "stat" else {"not reported", "none reported"}
        return [] if panel["type"] == "text" or said in right else [f"noValue is {said!r}"]

    return _each_panel(boards, judge)


# Letters that are seen of the title of a number which is an eighth as wide as a screen of 1,440 pixels.
_SEEN, _SEEN_BESIDE_A_SIGN = 16, 14


def seen(boards: Boards) -> list[str]:
    """Titles of numbers are not cut, ids and names in tables are not printed as numbers, and legends show all lines."""

    def judge(panel: Json) -> list[str]:
        kind, found = panel["type"], []
        if kind == "stat" and len(panel["title"]) > (_SEEN_BESIDE_A_SIGN if panel.get("description") else _SEEN):
            found.append("its title is cut")
        if kind == "stat" and panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["color"] != "text":
            found.append("what is missing has the colour of what is good or bad")
        labels = _columns(panel) if kind == "table" else {}
        found += [f"{label} is printed as a number" for label, unit in labels.items() if unit != "string"]
        legend = panel["options"].get("legend", {})
        several = len(panel.get("targets", ())) > 1 or "{{" in str(panel.get("targets"))
        if several and (legend.get("displayMode"), legend.get("placement")) == ("table", "bottom"):
            found.append("its legend shows three lines")
        return found

    return _each_panel(boards, judge)


def _columns(panel: Json) -> dict[str, str]:
    """Return the units of a table's columns of labels."""
    (organize,) = (one["options"] for one in panel["transformations"] if one["id"] == "organize")
    titles = {name: title for name, title in organize["renameByName"].items() if not name.startswith("Value")}
    return {title: overrides(panel).get(title, {}).get("unit", "") for title in titles.values()}


def questions(boards: Boards) -> list[str]:
    """Each question has a letter of its own; numbers and tables ask for one moment, lines for a range."""

    def judge(panel: Json) -> list[str]:
        letters = [target.get("refId") for target in panel.get("targets", ())]
        found = [] if len({*letters}) == len(letters) and all(letters) else [f"its questions are called {letters}"]
        for target in panel.get("targets", ()):
            lines = panel["type"] in LINES
            if (bool(target.get("instant")), bool(target.get("range"))) != (not lines, lines):
                found.append(f"{target['refId']} is asked for {'a moment' if lines else 'a range'}")
        return found if panel.get("targets") or panel["type"] == "text" else [*found, "it asks nothing"]

    return _each_panel(boards, judge)


# Unit: what one of the names must contain that are measured in it.
_NEEDS = {
    "bytes": "bytes|FB_",
    "watt": "watts",
    "celsius": "celsius|TEMP",
    "kwatth": "joules.*3[.]6e6",
    "hertz": "CLOCK",
    "Bps": "BYTES|bytes|THROUGHPUT",
    "s": "seconds",
    "dateTimeFromNow": "(ALERTS_FOR_STATE|timestamp).*[*] 1000",
    "percentunit": "ratio|RATIO| / ",
    "short": "hours|gpus:count|gpus_idle|gpus_allocated",
    "locale": "",
    "none": "",
}
# The other way round: which units the first name of an expression can have.
_FITS = {
    "_bytes": {"bytes", "percentunit", "Bps"},
    "_watts": {"watt"},
    "_celsius": {"celsius"},
    "_joules": {"kwatth", "percentunit"},
    "_hours": {"short", "locale", "percentunit"},
    "_ratio": {"percentunit"},
    "_timestamp_seconds": {"dateTimeFromNow"},
}


def fitting_units(boards: Boards) -> list[str]:
    """Every value has a unit, and one in which it is measured: no bytes in MB, no energy in joules."""

    def judge(panel: Json, target: Json) -> list[str]:
        unit = units(panel)[target["refId"]]
        if panel["type"] == "heatmap":
            unit = panel["options"]["yAxis"].get("unit", "")
        if unit not in _NEEDS:
            return [f"the unit {unit!r} is none of ours"]
        expression = target["expr"].replace("\n", " ")
        first = next(iter(SELECTOR.findall(expression)), ("", ""))[0]
        fits = next((fits for part, fits in _FITS.items() if re.search(rf"{part}(:|$)", first)), {unit})
        wrong = unit not in fits or not re.search(_NEEDS[unit], expression)
        return [f"the unit {unit!r} does not fit {first}"] if wrong else []

    return _each_target(boards, judge)


def counters(boards: Boards) -> list[str]:
    """Only what counts has a rate: many rows of the exporter are called counters and are none."""

    def judge(panel: Json, target: Json) -> list[str]:
        called = _CALLED.findall(target["expr"])
        return [
            f"rate of {one or 'an expression'}" for one in called if not (one.endswith("_total") or one in COUNTERS)
        ]

    return _each_target(boards, judge)


def names(boards: Boards) -> list[str]:
    """Numbers come from the recording rules, else by names of both schemas, and only of clusters that are chosen."""
    rows = {text: one for one in metric_names.METRICS.values() for text in (one.old, one.new) if text}

    def judge(panel: Json, target: Json) -> list[str]:
        expression, found = target["expr"], []
        chosen = dict(SELECTOR.findall(expression))
        known = RECORDS | OTHERS | NODE_EXPORTER | rows.keys()
        for one, matchers in SELECTOR.findall(expression):
            if one not in known:
                found.append(f"nobody records {one}")
            if not re.search(r"\bcluster=~?\"\$cluster\"", matchers):
                found.append(f"{one} is asked of all clusters")
            found += [
                f"nothing has the label {label}" for label, _, _ in MATCHER.findall(matchers) if label not in LABELS
            ]
            if one.startswith("DCGM_") and 'job="dcgm-exporter"' not in matchers:
                found.append(f"{one} is asked of exporters that are not ours")
            if one in rows and not {rows[one].old, rows[one].new} - {""} <= chosen.keys():
                found.append(f"{one} is of one metric schema only")
        bare = {*_NAME.findall(_STRING.sub("", SELECTOR.sub("", expression)))} & known
        return [*found, *(f"{one} is asked without matchers" for one in sorted(bare - LABELS))]

    return _each_target(boards, judge)


def rankings(boards: Boards) -> list[str]:
    """``topk`` of a range takes others at each step: hundreds of lines."""

    def judge(panel: Json, target: Json) -> list[str]:
        ranked = re.search(r"\b(top|bottom)k\b", target["expr"])
        wrong = panel["type"] in LINES and ranked and "@ end()" not in target["expr"]
        return ["topk of a range without `@ end()`"] if wrong else []

    return _each_target(boards, judge)


def choices(boards: Boards) -> list[str]:
    """Variables that are used are there, those that take several values stand behind =~, and no job is all jobs."""
    found = []
    for file, board in boards.items():
        known = variables(board)
        everywhere = used(" ".join(strings(board)))
        found += [f"{file}: there is no variable {one}" for one in everywhere if one[:2] != "__" and one not in known]
        asking = [target["expr"] for _, target in targets(board)]
        asking += [one["query"] for one in known.values() if one["type"] == "query"]
        asking += [one["target"]["expr"] for one in board["annotations"]["list"]]
        found += [
            f"{file}: {one} is used nowhere" for one in known if one not in used(" ".join([*asking, "$datasource"]))
        ]
        for label, operator, value in MATCHER.findall(" ".join(asking)):
            for one in used(value) & known.keys():
                if (operator in ("=~", "!~")) != bool(known[one].get("multi")):
                    found.append(f"{file}: {label}{operator}${one}")
        for one in known.values():
            if one["type"] == "textbox" and (one.get("query") or one.get("current", {}).get("value")):
                found.append(f"{file}: {one['name']} is {one['query']!r} at first")
    return sorted({*found})


def links(boards: Boards) -> list[str]:
    """Links lead to dashboards and variables that are there, with time range and data source."""
    by_uid = {board["uid"]: board for board in boards.values()}
    found = []
    for file, board in boards.items():
        for text in {text for text in strings(board["panels"]) if text.startswith(("/d/", "http"))}:
            parts = urlsplit(text)
            uid, asked = parts.path.removeprefix("/d/"), {key for key, _ in parse_qsl(parts.query.replace("${", "("))}
            if uid not in by_uid:
                found.append(f"{file}: {text} leads nowhere")
                continue
            there = {f"var-{one}" for one in variables(by_uid[uid])}
            found += [f"{file}: {uid} has no {one}" for one in asked if one.startswith("var-") and one not in there]
            if "${__url_time_range}" not in text or "var-datasource=${datasource}" not in text:
                found.append(f"{file}: {text} forgets time range or data source")
    return found


def cells(boards: Boards) -> list[str]:
    """Columns of tables have names: what is asked for is shown, in order, and what is said of a column is of one."""

    def judge(panel: Json) -> list[str]:
        if panel["type"] != "table":
            return []
        (organize,) = (one["options"] for one in panel["transformations"] if one["id"] == "organize")
        letters = [target["refId"] for target in panel["targets"]]
        values = [f"Value #{letter}" for letter in letters] if len(letters) > 1 else ["Value"]
        there = organize["renameByName"]
        found = [f"{one} has no name" for one in values if one not in there]
        found += [f"{one} has no place" for one in there if one not in organize["indexByName"]]
        found += [f"there is no column {one}" for one in overrides(panel) if one not in there.values()]
        sorting = [one["displayName"] for one in panel["options"]["sortBy"]]
        found += [f"it is sorted by {one}, which is not there" for one in sorting if one not in there.values()]
        if any(target.get("format") != "table" for target in panel["targets"]):
            found.append("an answer is no table")
        return found

    return _each_panel(boards, judge)


RULES: tuple[Callable[[Boards], list[str]], ...] = (
    *(identities, commonplaces, places, data_sources, no_values, questions, fitting_units, counters, names),
    *(rankings, choices, links, cells, seen),
)
