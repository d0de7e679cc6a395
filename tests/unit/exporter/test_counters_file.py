"""A counters file is read as strictly as dcgm-exporter reads it, and each fault is a sentence."""

from __future__ import annotations

import pytest
from superpod_dcgm.exporter import counters

GOOD = "DCGM_FI_DEV_GPU_TEMP, gauge, GPU temperature (in C)."
NAMES = {"DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_GPU_UTIL", "DCGM_EXP_XID_ERRORS_COUNT"}

# name: (file, what the one row is read as)
READ = {
    "blanks around fields go": ("  DCGM_FI_DEV_GPU_UTIL ,   gauge,a b  \n", ("DCGM_FI_DEV_GPU_UTIL", "gauge", "a b")),
    "the help may be empty": ("DCGM_FI_DEV_GPU_UTIL,gauge,", ("DCGM_FI_DEV_GPU_UTIL", "gauge", "")),
    "comments and empty lines are none": (f"# one, two\n\n{GOOD}\n#", ("DCGM_FI_DEV_GPU_TEMP", "gauge", None)),
    "lines of Windows": (f"# one\r\n\r\n{GOOD}\r\n", ("DCGM_FI_DEV_GPU_TEMP", "gauge", "GPU temperature (in C).")),
    "quotes directly after the comma": (
        'DCGM_FI_DEV_GPU_UTIL,gauge,"a, ""b"""',
        ("DCGM_FI_DEV_GPU_UTIL", "gauge", 'a, "b"'),
    ),
    "a name in quotes": ('"DCGM_FI_DEV_GPU_UTIL ",gauge,a', ("DCGM_FI_DEV_GPU_UTIL", "gauge", "a")),
}


@pytest.mark.parametrize(("text", "row"), READ.values(), ids=READ.keys())
def test_what_the_exporter_takes_is_no_problem(text: str, row: tuple[str, str, str | None]) -> None:
    (found,) = counters.rows(text)
    assert (found.name, found.type) == row[:2]
    assert row[2] in (None, found.help)
    assert counters.problems(text, NAMES.__contains__, NAMES) == []


# name: (file, words of the one sentence)
WRONG = {
    "an unknown name": (
        "DCGM_FI_DEV_GPU_TMP, gauge, x",
        ("line 1: 'DCGM_FI_DEV_GPU_TMP' is not a name", "(did you mean DCGM_FI_DEV_GPU_TEMP?)"),
    ),
    "a name in small letters": ("dcgm_fi_dev_gpu_temp, gauge, x", ("'dcgm_fi_dev_gpu_temp' is not a name",)),
    "a tab before a comma": ("DCGM_FI_DEV_GPU_TEMP\t, gauge, x", (r"'DCGM_FI_DEV_GPU_TEMP\t' (with a tab",)),
    "a tab after a comma": ("DCGM_FI_DEV_GPU_TEMP,\tgauge, x", (r"'\tgauge' (with a tab", "gauge, counter")),
    "an unknown type": (f"{GOOD}\nDCGM_FI_DEV_GPU_UTIL, guage, x", ("line 2: 'guage' is no type", "one of gauge,")),
    "an unknown type that the exporter would print": ("DCGM_EXP_XID_ERRORS_COUNT, number, x", ("'number' is no type",)),
    "two fields": ("DCGM_FI_DEV_GPU_TEMP, gauge", ("line 1: it has 2 fields and must have 3",)),
    "one field": ("DCGM_FI_DEV_GPU_TEMP", ("it has 1 field and must have 3",)),
    "a comma in the help": (f"{GOOD[:-1]}, more", ("it has 4 fields", "needs quotes, the first directly after")),
    "a quoted help after a blank": ('DCGM_FI_DEV_GPU_TEMP, gauge, "a, b"', ("line 1: a quote within a field",)),
    "a blank after the closing quote": ('DCGM_FI_DEV_GPU_TEMP,gauge,"a" ', ("between a closing quote and the next",)),
    "a quote that stays open": (f'{GOOD}\nDCGM_FI_DEV_GPU_UTIL,gauge,"a\n\n', ("line 2: a quote is not closed",)),
    "a line of blanks": (f"{GOOD}\n  \n", ("line 2: it has only blanks",)),
    "a comment that is indented": (f"{GOOD}\n  # old\n", ("line 2: it has 1 field",)),
    "a help of two lines": ('DCGM_FI_DEV_GPU_TEMP,gauge,"a\nb"\n', ("line 1: the help text has more than one line",)),
    "a mark of the byte order": ("\ufeffDCGM_FI_DEV_GPU_TEMP, gauge, x", ("is not a name that this release knows",)),
    "no row": ("# nothing\n", ("there is no row in it",)),
}


@pytest.mark.parametrize(("text", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_would_end_the_exporter_or_spoil_the_page_is_one_sentence(text: str, words: tuple[str, ...]) -> None:
    (sentence,) = counters.problems(text, NAMES.__contains__, NAMES)
    assert [word for word in words if word not in sentence] == []


def test_every_fault_is_named_at_once_and_lines_are_counted_over_multi_line_fields() -> None:
    text = 'A, gauge, x\nDCGM_FI_DEV_GPU_TEMP,gauge,"a\nb"\n\nDCGM_FI_DEV_GPU_UTIL, x, y\n'
    found = counters.problems(text, NAMES.__contains__)
    assert sorted(sentence.partition(":")[0] for sentence in found) == ["line 1", "line 2", "line 5"]


def test_without_the_names_of_a_release_only_the_form_is_checked() -> None:
    assert counters.problems("WHATEVER, gauge, x") == []
    assert len(counters.problems("WHATEVER, gauge")) == 1
