"""What a demo leaves behind: pictures and numbers."""

from __future__ import annotations

from pathlib import Path

__all__ = ["finish"]


def finish(output, figures: dict, numbers: dict, quiet: bool) -> dict:
    """Write the pictures and print the numbers, whose values are words; a value of "" makes a headline."""
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    pictures = []
    for name, figure in figures.items():
        pictures.append(output / f"{name}.png")
        figure.savefig(pictures[-1], dpi=110)
    if not quiet:
        width = 2 + max(map(len, numbers))
        for name, value in numbers.items():
            print(f"{name:<{width}}{value}")
        for path in pictures:
            print(f"wrote {path}")
        print(f"{len(pictures)} pictures in {output}")
    return {"numbers": numbers, "pictures": pictures}
