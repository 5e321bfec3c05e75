"""The benchmark table on this machine: ``lvmfast bench``.

    ratio = seconds of the peer / seconds of lvmfast,

of calls that follow one another, as min / median / max over the pairs. Every number of threads has a process of its own
(``benchmarks/worker.py``), which has its threads and processors limited before any library starts and compares the
answers before it takes times. A peer that raises, answers otherwise or ends the process is reported, and the others go
on.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import fnmatch
import json
import math
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import lvmfast
from lvmfast import _backend, _machine

__all__ = ["add_arguments", "main", "run", "table"]

PEERS = ("scikit-learn", "torch", "gpytorch", "botorch", "jax", "gpflow", "tensorflow", "tensorflow-probability")
PEERS += ("keras", "tf-keras", "polyagamma", "hyhound", "jlc-choldate", "densratio")
DTYPES = ("float64", "float32")
ROUNDS = {False: 5, True: 3}  # by whether it is to be quick


def add_arguments(parser) -> None:
    """The options of the command."""
    parser.add_argument("rows", nargs="*", metavar="ROW", help="names of rows or patterns such as 'gp*' (default: all)")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument(
        "--peers", nargs="+", metavar="PEER", help="names or patterns (default: all that are installed)"
    )
    parser.add_argument("--threads", nargs="+", type=processors, metavar="N", help="(default: all processors)")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, help="(default: the first one of every row)")
    parser.add_argument("--rounds", type=positive, metavar="N", help="pairs (default: 5, with --quick 3)")
    parser.add_argument("--quick", action="store_true", help="small problems, to see that all runs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    parser.add_argument("--output", metavar="FILE", help="write the JSON to a file as well")


def positive(text: str) -> int:
    """An integer >= 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be >= 1, got {value}")
    return value


def processors(text: str) -> int:
    """A number of threads, no more than there are processors for them."""
    value = positive(text)
    if value > _backend.available_cpus():
        raise argparse.ArgumentTypeError(f"must be <= {_backend.available_cpus()}, the processors here, got {value}")
    return value


def folder() -> Path:
    """Where the table and its worker are: in the package, or beside it in a clone.

    Raises
    ------
    FileNotFoundError
    """
    here = Path(lvmfast.__file__).parent
    for place in (here / "benchmarks", here.parent / "benchmarks"):
        if (place / "worker.py").is_file():
            return place
    raise FileNotFoundError(f"the benchmarks are neither in {here} nor beside it; install lvmfast anew")


def command(*arguments) -> list[str]:
    """That runs the worker."""
    return [sys.executable, str(folder() / "worker.py"), *map(str, arguments)]


def environment() -> dict[str, str]:
    """Of the worker, which has to import this lvmfast: from a folder that is none of Python's own it would not."""
    here = str(Path(lvmfast.__file__).parents[1])
    if here in sysconfig.get_paths().values():
        return dict(os.environ)
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))}


def table() -> list[dict]:
    """All rows: ``name``, ``what`` is timed, ``agreement`` (what was compared), ``peers`` and ``dtypes``.

    Raises
    ------
    RuntimeError
        If the worker cannot say.
    """
    answer = subprocess.run(command("--list"), capture_output=True, text=True, env=environment())
    if answer.returncode:
        raise RuntimeError(f"the benchmarks do not start: {last_line(answer.stderr)}")
    return json.loads(answer.stdout)


def matching(patterns, names, what: str) -> list[str]:
    """Those of the names that a pattern fits, in their order; all without patterns.

    Raises
    ------
    ValueError
        If a pattern fits none.
    """
    for pattern in patterns or ():
        if not fnmatch.filter(names, pattern):
            raise ValueError(f"there is no {what} {pattern!r}; there are {', '.join(names)}")
    return [name for name in names if not patterns or any(fnmatch.fnmatchcase(name, p) for p in patterns)]


def tasks(rows, names=(), peers=None, dtypes=None) -> list[tuple[str, str, str]]:
    """(row, dtype, peer) for every comparison.

    Raises
    ------
    ValueError
        For names of rows or peers that there are not, or if no row has the dtypes.
    """
    chosen = matching(names, [row["name"] for row in rows], "row")
    kept = [row for row in rows if row["name"] in chosen]
    wanted = matching(peers, list(dict.fromkeys(peer for row in kept for peer in row["peers"])), "peer of these rows")
    found = []
    for row in kept:
        for dtype in [d for d in row["dtypes"] if d in dtypes] if dtypes else row["dtypes"][:1]:
            found += [(row["name"], dtype, peer) for peer in row["peers"] if peer in wanted]
    if not found:
        raise ValueError(f"dtypes must be those of a row, got {', '.join(dtypes)} for {', '.join(chosen)}")
    return found


def measurements(todo, threads: int, rounds: int, quick: bool) -> Iterator[dict]:
    """One for every task, from as many processes as are needed."""
    left = list(todo)
    options = ["--threads", threads, "--rounds", rounds, *(["--quick"] if quick else [])]
    while left:
        with tempfile.TemporaryFile("w+", errors="replace") as errors:
            pipes = {"stdout": subprocess.PIPE, "stderr": errors, "text": True, "env": environment()}
            process = subprocess.Popen(command(json.dumps(left), *options), **pipes)
            try:
                for answer in map(json.loads, process.stdout):
                    left.pop(0)
                    yield {**answer, "threads": threads}
                process.wait()
            finally:
                process.kill()
                process.stdout.close()
                process.wait()
            errors.seek(0)
            said = last_line(errors.read())
        if left:
            head = dict(zip(("row", "dtype", "peer"), left.pop(0), strict=True))
            reason = f"the process ended with status {process.returncode}: {said}"
            yield {**head, "status": "failed", "reason": reason, "threads": threads}


def last_line(text: str) -> str:
    """That says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def machine() -> dict:
    """Processor, instruction set, BLAS and versions, with those of the peers that are installed."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "processor": _machine.processor(),
        "processors": _backend.available_cpus(),
        "system": f"{platform.system()} {platform.machine()}",
        "instruction_set": _backend.cpu.instruction_set(),
        "compiler": _backend.cpu.compiler,
        "blas": _machine.blas()[0],
        "versions": _machine.versions(PEERS),
    }


def run(names=(), *, peers=None, threads=None, dtypes=None, rounds=None, quick=False, tell=None) -> dict:
    """The report of rows: ``machine``, ``quick``, ``measurements``, and ``interrupted``, whether Ctrl-C ended it.

    Parameters
    ----------
    names, peers : sequence of str, optional
        Names or patterns; all without them.
    threads, dtypes : sequence, optional
        Without them all processors, and every row's first dtype.
    rounds : int, optional
        Pairs.
    quick : bool, default=False
        Small problems.
    tell : callable, optional
        ``tell(measurement, tasks)`` is called with every measurement when it is there.

    Raises
    ------
    ValueError
        For rows, peers or dtypes that there are not.
    """
    rows = table()
    what = {row["name"]: row["what"] for row in rows}
    todo = tasks(rows, names, peers, dtypes)
    report = {"machine": machine(), "quick": bool(quick), "interrupted": False, "measurements": []}
    try:
        for n in threads or [_backend.available_cpus()]:
            with contextlib.closing(measurements(todo, n, rounds or ROUNDS[quick], quick)) as found:
                for one in found:
                    report["measurements"].append({"row": one["row"], "what": what[one["row"]], **one})
                    if tell is not None:
                        tell(one, todo)
    except KeyboardInterrupt:
        report["interrupted"] = True
    return report


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / 1e-9:.3g} ns"


def number(ratio: float) -> str:
    """Three digits, and all before the point."""
    return f"{ratio:.{max(0, 2 - math.floor(math.log10(ratio)))}f}"


def line(cells, widths) -> str:
    """Aligned cells; the last one is as long as it is."""
    return "  ".join([*(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=False)), *cells[len(widths) :]])


class Lines:
    """Prints measurements as aligned lines, the heading before the first."""

    HEADING = ("row", "peer", "threads", "dtype", "ours", "theirs / ours: min / median / max")

    def __init__(self, file):
        self.file, self.widths = file, None

    def __call__(self, one: dict, todo) -> None:
        if self.widths is None:
            rows, _, peers = ([len(cell) for cell in column] for column in zip(*todo, strict=True))
            self.widths = (max(rows), max(peers), 7, 7, 7)
            print(line(self.HEADING, self.widths), file=self.file)
        head = [one["row"], one["peer"], str(one["threads"]), one["dtype"]]
        if one["status"] == "measured":
            ratios = " / ".join(number(one["ratios"][k]) for k in ("min", "median", "max"))
            tail = [duration(one["seconds"]["median"]), f"{ratios}   ({one['size']})"]
        else:
            tail = ["", f"{one['status']}: {one['reason']}"]
        print(line([*head, *tail], self.widths), file=self.file, flush=True)


def main(**arguments) -> int:
    """The command with its options by name: 0, 1 after an error or where a peer failed, 130 after Ctrl-C."""
    names, as_json, output = (arguments.pop(name) for name in ("rows", "json", "output"))
    made = False  # a file, which an error leaves behind empty
    try:
        if arguments.pop("list"):
            rows = table()
            print(json.dumps(rows, indent=1) if as_json else listing(rows))
            return 0
        if output:
            made = not Path(output).exists()
            open(output, "a").close()  # an error now and not at the end
        report = run(names, tell=Lines(sys.stderr if as_json else sys.stdout), **arguments)
    except (OSError, RuntimeError, ValueError) as error:
        if made:
            Path(output).unlink(missing_ok=True)
        print(f"lvmfast: {error}", file=sys.stderr)
        return 1
    text = json.dumps(report, indent=1, ensure_ascii=False)
    print(text if as_json else summary(report["machine"]))
    if output:
        Path(output).write_text(text + "\n", encoding="utf-8")
    if report["interrupted"]:
        print("lvmfast: interrupted; this is what was measured until then", file=sys.stderr)
        return 130
    return int(any(one["status"] == "failed" for one in report["measurements"]))


def summary(known: dict) -> str:
    """Date, processor, BLAS and versions on one line."""
    versions = ", ".join(f"{name} {version}" for name, version in known["versions"].items())
    return f"{known['date']}, {known['processor']} ({known['instruction_set']}), {known['blas']}; {versions}"


def listing(rows) -> str:
    """Name, what is timed, dtypes and peers of every row."""
    width = max(len(row["name"]) for row in rows)
    parts = []
    for row in rows:
        parts.append(f"{row['name']:<{width}}  {row['what']} ({', '.join(row['dtypes'])})")
        parts.append(f"{'':<{width}}  beside {', '.join(row['peers'])}")
    return "\n".join(parts)
