"""What a demo leaves behind: pictures and numbers."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from lvmfast import plot

__all__ = ["aligned", "fastest", "finish", "prepare", "seconds"]

HEADS = ("here", "the text")


def prepare(output) -> None:
    """Make the folder for pictures, where there is none, and see that they can be drawn and written: before the work.

    Raises
    ------
    ImportError, OSError
    """
    plot.new_figure()
    Path(output).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=output):
        pass


def finish(output, figures: dict, numbers: dict, quiet: bool) -> dict:
    """Write the pictures and print the numbers.

    Parameters
    ----------
    output : str or Path
        Folder for ``NAME.png``, made where there is none.
    figures : dict
        Figures of matplotlib by name.
    numbers : dict
        Words by what they are: what came out here, or that and what the text has, beside each other; "" makes a
        headline.
    quiet : bool
        Print nothing.

    Returns
    -------
    dict
        The ``numbers`` and the paths of the ``pictures``.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    pictures = []
    for name, figure in figures.items():
        pictures.append(output / f"{name}.png")
        figure.savefig(pictures[-1], dpi=110)
    if not quiet:
        print("\n".join(aligned(numbers)))
        for path in pictures:
            print(f"wrote {path}")
        print(f"{len(pictures)} picture{'s' * (len(pictures) != 1)} in {output}")
    return {"numbers": numbers, "pictures": pictures}


def aligned(numbers: dict) -> list[str]:
    """Lines of a table: names, what came out here, and in a second column what the text has."""
    pairs = [value for value in numbers.values() if isinstance(value, tuple)]
    rows = {"": HEADS, **numbers} if pairs else numbers
    first = 2 + max(map(len, rows))
    second = 2 + max((len(ours) for ours, _ in [HEADS, *pairs]))
    lines = []
    for name, value in rows.items():
        ours, theirs = value if isinstance(value, tuple) else (value, "")
        lines.append(f"{name:<{first}}{ours:<{second}}{theirs}".rstrip())
    return lines


def fastest(function, budget: float = 0.1) -> float:
    """Seconds of the fastest of some calls, the first of which is not counted: two or more, while the budget lasts."""
    function()
    times, begun = [], time.perf_counter()
    while len(times) < 2 or time.perf_counter() - begun < budget:
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


def seconds(value: float) -> str:
    """A time with three digits, in s, ms or µs."""
    unit, factor = next((u, f) for u, f in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)) if value * f >= 1 or u == "µs")
    return f"{value * factor:.3g} {unit}"
