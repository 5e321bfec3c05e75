"""What ``lvmfast demo`` finds and runs.

Every module of this package without an underscore in front of its name is a demo, ``vae_dense.py`` the demo
``vae-dense``. It holds

    DEMO = Demo("what it shows, in a line", "title of the text that it walks through", seconds on two cores)
    add_arguments(parser)    only where it has arguments beside output, seed and quiet; without defaults
    run(*, output, seed=0, quiet=False, ...)    does it, and has the defaults; no seed where nothing is random

and is listed, run and tested from then on.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import sys
import time
from pathlib import Path

from lvmfast.demos import _report

FOLDER = "lvmfast-demo"


@dataclasses.dataclass(frozen=True)
class Demo:
    """What a demo is.

    Parameters
    ----------
    summary : str
        What it shows, in a line.
    reference : str
        Title of the text that it walks through.
    seconds : int
        How long it takes with the default settings on two cores, about.
    """

    summary: str
    reference: str
    seconds: int


def modules() -> dict:
    """The modules of the demos by name."""
    folder = Path(__file__).parent
    names = sorted(m.name for m in pkgutil.iter_modules([str(folder)]) if not m.name.startswith("_"))
    return {name.replace("_", "-"): importlib.import_module(f"lvmfast.demos.{name}") for name in names}


def add_commands(demo) -> None:
    """Give the parser of ``lvmfast demo`` a command for every demo and one for all."""
    demo.set_defaults(function=show)
    commands = demo.add_subparsers(metavar="name")
    for name, module in modules().items():
        about = module.DEMO
        description = f"{about.summary}. After: {about.reference}."
        parser = commands.add_parser(name, help=about.summary, description=description)
        text = f"folder for the pictures (default: {FOLDER}/{name})"
        options = inspect.signature(module.run).parameters
        _add_common(parser, f"{FOLDER}/{name}", text, "print nothing")
        if "seed" in options:
            _add_seed(parser)
        if hasattr(module, "add_arguments"):
            module.add_arguments(parser)
        parser.set_defaults(**{k: o.default for k, o in options.items() if o.default is not o.empty})
        parser.set_defaults(function=run, module=module)
    every = commands.add_parser("all", help="all of them, one after the other", description=run_all.__doc__)
    _add_common(every, FOLDER, f"folder for a folder of each (default: {FOLDER})", "print a line for each and no more")
    _add_seed(every)
    every.set_defaults(function=run_all, seed=0)


def _add_common(parser, folder: str, output: str, quiet: str) -> None:
    parser.add_argument("--output", default=folder, metavar="FOLDER", help=output)
    parser.add_argument("--quiet", action="store_true", help=quiet)


def _add_seed(parser) -> None:
    parser.add_argument("--seed", type=int, metavar="N", help="of all that is random (default: %(default)s)")


def add_data(parser) -> None:
    """The argument of demos that show digits."""
    parser.add_argument("--data", metavar="FILES", help="MNIST files (IDX or npz) instead of the digits in the package")


def show() -> int:
    """List the demos, and the texts that they walk through."""
    about = {name: module.DEMO for name, module in modules().items()}
    width = max(map(len, about)) + 2
    print("lvmfast demo NAME, or all; seconds on two cores:\n")
    for name, demo in about.items():
        print(f"  {name:<{width}}{demo.seconds:>3} s  {demo.summary}")
    print("\nThe texts that they walk through:\n")
    for name, demo in about.items():
        print(f"  {name:<{width}}{demo.reference}")
    return 0


def run(module, **options) -> int:
    """Run a demo; its errors become a line and the exit status 1."""
    try:
        _report.prepare(options["output"])
        module.run(**options)
    except (ImportError, OSError, ValueError) as error:
        print(f"lvmfast: {error}", file=sys.stderr)
        return 1
    return 0


def run_all(output=FOLDER, seed=0, quiet=False) -> int:
    """Run all demos with their default settings, one after the other; go on after one that fails."""
    found, failed, begun = modules(), [], time.perf_counter()
    for name, module in found.items():
        if not quiet:
            print(f"== {name}: {module.DEMO.summary}", flush=True)
        started = time.perf_counter()
        try:
            random = {"seed": seed} if "seed" in inspect.signature(module.run).parameters else {}
            _report.prepare(Path(output) / name)
            module.run(output=Path(output) / name, quiet=quiet, **random)
        except Exception as error:
            failed.append(name)
            print(f"lvmfast: {name}: {type(error).__name__}: {error}", file=sys.stderr)
        print(f"{name}: {time.perf_counter() - started:.1f} s{', failed' * (name in failed)}", flush=True)
        if not quiet:
            print()
    done = f"{len(found) - len(failed)} of {len(found)} demos in {time.perf_counter() - begun:.0f} s"
    print(f"{done}, pictures in {output}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0
