"""The README's Python runs, block after block, in one namespace and without warnings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks():
    """Line of the README and source of every block, the source moved down to its line."""
    text = README.read_text(encoding="utf-8") if README.exists() else ""
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start(1))
        yield line + 1, "\n" * line + match.group(1)


BLOCKS = dict(blocks())


@pytest.fixture(scope="module")
def namespace(tmp_path_factory):
    """What earlier blocks defined, in a folder in which they may write."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("readme"))
        yield {"__name__": "readme", "failed": []}


@pytest.mark.parametrize("line", BLOCKS, ids=lambda line: f"line {line}")
def test_block(request, namespace, line):
    source = BLOCKS[line]
    if "import cupy" in source:
        request.getfixturevalue("cuda")  # skips, and says why
    if namespace["failed"]:
        pytest.fail(f"the block at line {namespace['failed'][0]}, on which this one may rest, did not run")
    namespace["failed"].append(line)
    exec(compile(source, str(README), "exec"), namespace)
    namespace["failed"].clear()


def test_readme_has_blocks():
    if not README.exists():
        pytest.skip("there is no README beside the tests")
    assert len(BLOCKS) > 10
