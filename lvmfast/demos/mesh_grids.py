"""Dense and open grids, and their one relation: ``lvmfast demo mesh-grids``.

    np.meshgrid(a, b)[k] = np.mgrid's k-th array, transposed;  mgrid = the open a[:, None], b[None, :], broadcast

Tiao's text on mgrid and meshgrid, with :mod:`lvmfast.grids`: ``mesh(a, b)`` has the arrays of mgrid, ``mesh(a, b,
indexing="xy")`` those of meshgrid, ``open_mesh(a, b)`` those of ogrid, from which broadcasting makes both. Then what
open arrays save in time and memory, and a function of points drawn over a mesh.
"""

from __future__ import annotations

import tracemalloc

import numpy as np
from tqdm.auto import tqdm

from lvmfast import grids, plot
from lvmfast._validation import check_integer
from lvmfast.demos._registry import Demo
from lvmfast.demos._report import fastest, finish, seconds

DEMO = Demo(
    "Dense and open grids: one relation, and what open ones save in time and memory",
    "NumPy mgrid vs. meshgrid",
    5,
)
A, B = np.arange(1, 11, 2), np.arange(-12, -3, 3)
SUM = [[-11, -8, -5], [-9, -6, -3], [-7, -4, -1], [-5, -2, 1], [-3, 0, 3]]  # as the text prints it
WAYS = ("np.meshgrid", "np.mgrid", "open_mesh")
FUNCTIONS = {
    "sin 3x + cos 2y": lambda x, y: np.sin(3 * x) + np.cos(2 * y),  # sines of an open axis are few
    "sin xy": lambda x, y: np.sin(x * y),  # as many as points, whatever the arrays
}


def add_arguments(parser) -> None:
    """Those of this demo alone."""
    parser.add_argument("--n", type=int, help="points along each axis of the largest mesh (default: %(default)s)")


def run(*, output, n=1024, quiet=False) -> dict:
    """Compare and time, say what came out and write the pictures to ``output``; returns what was measured."""
    n = check_integer(n, "n", 16)
    equal = relations()
    shapes = {
        "shape, indexing='xy' (meshgrid)": (grids.mesh(A, B, indexing="xy").shape, "3x5"),
        "shape, indexing='ij' (mgrid)": (grids.mesh(A, B).shape, "5x3"),
        "shapes of the open arrays (ogrid)": ([a.shape for a in grids.open_mesh(A, B)], "5x1, 1x3"),
    }
    numbers = {}
    for name, (shape, text) in shapes.items():
        several = shape if isinstance(shape, list) else [shape]
        numbers[name] = (", ".join("x".join(map(str, one)) for one in several), text)
    numbers |= {name: (str(found), "True") for name, found in equal.items()}
    sizes = [size for size in (64, 128, 256, 512, 1024, 2048) if size < n] + [n]
    numbers[f"on {n:,} x {n:,} points: time, and memory at its peak"] = ""
    found = {}
    with tqdm(total=len(FUNCTIONS) * len(WAYS) * len(sizes), disable=quiet, desc="timings") as bar:
        for name in FUNCTIONS:
            for way in WAYS:
                found[name, way] = []
                for size in sizes:
                    found[name, way].append(cost(name, way, size))
                    bar.update()
                elapsed, memory = found[name, way][-1]
                numbers[f"  {name}, {way}"] = f"{seconds(elapsed)}, {memory / 2**20:.1f} MiB"
    mesh = grids.mesh(np.linspace(-3, 3, 301), np.linspace(-3, 3, 201), indexing="xy")
    values = mesh.reshape(FUNCTIONS["sin xy"](*mesh.points.T))
    figures = {"arrays": arrays(), "surface": surface(mesh, values), "cost": costs_by_size(sizes, found)}
    return {"equal": equal, "cost": found} | finish(output, figures, numbers, quiet)


def relations() -> dict:
    """What the text shows by its examples, each true or not."""
    x1, y1 = grids.mesh(A, B, indexing="xy").coordinates
    x2, y2 = grids.mesh(A, B).coordinates
    a, b = grids.open_mesh(A, B)
    even = np.linspace(-5, 5, 5), np.linspace(-12, -3, 3)
    return {
        "mesh(a, b, indexing='xy') has meshgrid's arrays": _same((x1, y1), np.meshgrid(A, B)),
        "mesh(a, b) has mgrid's": _same((x2, y2), np.mgrid[1:11:2, -12:-3:3]),
        "x1 == x2.T and y1 == y2.T": _same((x1, y1), (x2.T, y2.T)),
        "open_mesh(a, b) has ogrid's": _same((a, b), np.ogrid[1:11:2, -12:-3:3]),
        "open arrays, broadcast, are mgrid's": _same(np.broadcast_arrays(a, b), (x2, y2)),
        "x2 + y2 == a + b, the text's 15 numbers": _same((x2 + y2, a + b), (SUM, SUM)),
        "mgrid, arguments and targets reversed, is meshgrid": _same((y1, x1), np.mgrid[-12:-3:3, 1:11:2]),
        "evenly spaced: mgrid's 5j is linspace's 5": _same(
            grids.mesh(*even, indexing="xy").coordinates, np.mgrid[-12:-3:3j, -5:5:5j][::-1]
        ),
        "mesh.points are the pairs, row by row of the picture": _same(
            grids.mesh(A, B).points.T, (np.ravel(x2), np.ravel(y2))
        ),
    }


def _same(found, expected) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def cost(name: str, way: str, n: int) -> tuple[float, int]:
    """Seconds, and bytes at the peak, of making a grid and of a function on it."""
    axis = np.linspace(-3, 3, n)
    makers = {
        "np.meshgrid": lambda: np.meshgrid(axis, axis),
        "np.mgrid": lambda: np.mgrid[-3 : 3 : n * 1j, -3 : 3 : n * 1j],
        "open_mesh": lambda: grids.open_mesh(axis, axis),
    }

    def evaluate():
        return FUNCTIONS[name](*makers[way]())

    elapsed = fastest(evaluate)
    tracemalloc.start()
    try:
        evaluate()
        return elapsed, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# Pictures.


def arrays():
    """The text's arrays, number by number: those of meshgrid, of mgrid, and the open ones."""
    figure, axes = plot.new_figure((9, 6.2), 2, 3)
    meshes = (
        ("meshgrid: mesh(a, b, indexing='xy')", grids.mesh(A, B, indexing="xy").coordinates),
        ("mgrid: mesh(a, b)", grids.mesh(A, B).coordinates),
        ("ogrid: open_mesh(a, b)", grids.open_mesh(A, B)),
    )
    for column, (title, pair) in zip(axes.T, meshes, strict=True):
        for ax, values, name in zip(column, pair, "xy", strict=True):
            low, high = (A if name == "x" else B)[[0, -1]]
            ax.imshow(values, cmap="Blues" if name == "x" else "Oranges", vmin=low - 4, vmax=high + 6, aspect="equal")
            for (i, j), value in np.ndenumerate(values):
                ax.text(j, i, f"{value:g}", ha="center", va="center")
            ax.set(xticks=[], yticks=[], xlabel=f"{name}, {values.shape[0]} x {values.shape[1]}")
        column[0].set_title(title, fontsize="medium")
    return figure


def surface(mesh, values):
    """Values at the points of a mesh, in the mesh's shape."""
    figure, ax = plot.new_figure((6.6, 5.4))
    filled = ax.contourf(*mesh.axes, values, 24, cmap="viridis")
    ax.set(xlabel="x", ylabel="y", title="mesh.reshape(values at mesh.points)")
    figure.colorbar(filled, ax=ax, label="sin xy")
    return figure


def costs_by_size(sizes, found: dict):
    """Time of each function, and memory of the first, against the points of an axis."""
    figure, axes = plot.new_figure((12, 4.2), 1, 3)
    first, second = FUNCTIONS
    panels = ((first, 0, 1e3, "time (ms)"), (second, 0, 1e3, "time (ms)"), (first, 1, 2**-20, "memory (MiB)"))
    for ax, (name, k, factor, label) in zip(axes, panels, strict=True):
        for way, color, mark in zip(WAYS, plot.COLORS, "os^", strict=False):
            values = [cost[k] * factor for cost in found[name, way]]
            ax.loglog(sizes, values, mark + "-", color=color, lw=1.8, ms=5, label=way)
        ax.set_title(name, fontsize="medium")
        ax.set(xlabel="n, points along each axis", ylabel=label)
        ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    return figure
