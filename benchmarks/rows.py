"""What a row of the benchmark table is, and how it is measured: answers first, then times in pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from cases import threads
from peers.covariances import Unavailable
from ratios_kernels import compare

FLOAT64, FLOAT32 = ("float64",), ("float32",)


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two callables whose answers were found to agree, and the units of work, such as steps, that a call does.

    ``timer(ours, theirs, rounds, turn)`` gives our seconds and the ratios of the pairs.
    """

    ours: Callable
    theirs: Callable
    units: int = 1
    their_units: int | None = None
    timer: Callable = compare


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table.

    ``make(dtype, quick)`` sets up a problem and gives its size in words and ``pair(peer)``, which sets up a peer,
    compares the answers and gives a :class:`Pair`; it raises ``Unavailable`` where the peer is not installed, and
    AssertionError where answers differ. ``agreement`` says what was compared.
    """

    name: str
    what: str
    agreement: str
    peers: tuple[str, ...]
    make: Callable
    dtypes: tuple[str, ...] = FLOAT64 + FLOAT32

    def described(self) -> dict:
        """All but the function."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "make"}


def names(module, but=()) -> tuple[str, ...]:
    """Of a module's peers."""
    return tuple(peer for peer in module.PEERS if peer not in but)


def spread(values) -> dict[str, float]:
    """Least, median and largest."""
    return {"min": float(np.min(values)), "median": float(np.median(values)), "max": float(np.max(values))}


def measurements(row: Row, peers, dtype: str, n_threads: int, rounds: int, quick: bool) -> Iterator[dict]:
    """How the comparison with every peer ended, one after the other."""
    made = None
    for peer in peers:
        try:
            with threads(n_threads):
                made = made or row.make(dtype, quick)
                size, pair_with = made
                pair = pair_with(peer)
            with threads(n_threads):  # again: the peer's library may have come with the peer
                seconds, ratios = pair.timer(pair.ours, pair.theirs, rounds, 0.02 if quick else 0.2)
        except Unavailable as reason:
            yield {"peer": peer, "status": "skipped", "reason": str(reason)}
        except Exception as error:  # a peer may fail in any way, and the others go on
            yield {"peer": peer, "status": "failed", "reason": in_short(error)}
        else:
            ratios = ratios * pair.units / (pair.their_units or pair.units)
            answer = {"seconds": spread(seconds / pair.units), "ratios": spread(ratios), "rounds": len(ratios)}
            yield {"peer": peer, "status": "measured", "size": size, "agreement": row.agreement, **answer}


def in_short(error: Exception) -> str:
    """Kind and message on one line."""
    text = " ".join(str(error).split())
    kind = "answers differ" if isinstance(error, AssertionError) else type(error).__name__
    return f"{kind}: {text[:200]}"
