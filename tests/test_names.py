"""Structures of one name in two headers would be one to the linker, which keeps either of their bodies."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[1] / "csrc"
DEFINITION = re.compile(r"^(?:template <[^{;]*>\s*)?(?:struct|class) (\w+)(?: : [^;{]*)?(?:final )? ?\{", re.MULTILINE)
NAMESPACE = re.compile(r"^namespace ?([\w:]*) ?\{", re.MULTILINE)


def test_no_name_is_defined_in_two_headers():
    if not SOURCES.exists():
        pytest.skip("there are no sources beside the tests")
    places = defaultdict(set)
    for path in sorted(SOURCES.rglob("*.*pp")):
        text = path.read_text()
        opened = [(match.start(), match.group(1)) for match in NAMESPACE.finditer(text)]
        for match in DEFINITION.finditer(text):
            inside = [name for start, name in opened if start < match.start()]
            if "" not in inside:  # an unnamed namespace: its names are the file's own
                places[tuple(inside), match.group(1)].add(path.name)
    assert len(places) > 100
    assert not {name: files for (_, name), files in places.items() if len(files) > 1}
