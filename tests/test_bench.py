"""``lvmfast bench``: rows that need no other library, what becomes of peers that fail, reports, Ctrl-C."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sysconfig
import threading
from pathlib import Path

import numpy as np
import pytest
from cases import threads
from peers.covariances import Unavailable
from rows import Pair, Row, measurements
from table import ROWS

import lvmfast as lvm
from lvmfast import _backend, _bench, cli

# rows whose peers come with lvmfast
HERE = {
    "cholesky": "scipy",
    "solve": "scipy",
    "cholesky-update": "scipy_recompute",
    "kernel": "scikit-learn",
    "kernel-pullback": "scikit-learn",
    "random-normal": "Philox",
    "polya-gamma": "numpy-series",
    "log-normal": "scipy",
    "banana": "numpy",
    "gpr": "scikit-learn",
    "gpr-predict": "scikit-learn",
    "gplvm": "numpy_handderived",
}

# A worker that answers at once, but for peers that end it or never answer.
WORKER = """
import json, os, sys, time
rows = [{"name": name, "what": "it", "agreement": "all", "peers": ["good", "fatal", "absent"], "dtypes": ["float64"]}
        for name in ("one", "two")]
rows.append({"name": "slow", "what": "it", "agreement": "all", "peers": ["good", "hanging"], "dtypes": ["float32"]})
if sys.argv[1] == "--list":
    print(json.dumps(rows))
    sys.exit()
for row, dtype, peer in json.loads(sys.argv[1]):
    end = {"row": row, "dtype": dtype, "peer": peer}
    if peer == "fatal":
        print("out of luck", file=sys.stderr, flush=True)
        os._exit(3)
    if peer == "hanging":
        time.sleep(60)
    if peer == "absent":
        end |= {"status": "skipped", "reason": "absent is not installed"}
    else:
        third = {"min": 1e-3, "median": 2e-3, "max": 3e-3}
        end |= {"status": "measured", "size": str(os.getpid()), "agreement": "all", "seconds": third}
        end |= {"ratios": {"min": 1.0, "median": 22.0, "max": 333.3}, "rounds": 3}
    print(json.dumps(end), flush=True)
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Rows "one", "two" and "slow" of a table without libraries."""
    (tmp_path / "worker.py").write_text(WORKER)
    monkeypatch.setattr(_bench, "folder", lambda: tmp_path)


def measured(row, peers=None, dtype=None):
    """Quickly, by one pair."""
    return list(measurements(row, peers or row.peers, dtype or row.dtypes[0], 1, 1, True))


@pytest.mark.filterwarnings("default")  # what a peer's library says about itself
@pytest.mark.parametrize("name", HERE)
def test_row(name):
    before = lvm.get_num_threads()
    (found,) = measured(ROWS[name], [HERE[name]])
    assert found["status"] == "measured", found
    assert found["agreement"] == ROWS[name].agreement
    for key in ("seconds", "ratios"):
        assert 0 < found[key]["min"] <= found[key]["median"] <= found[key]["max"]
    assert lvm.get_num_threads() == before


def test_rows_are_described():
    assert all(name == row.name and row.peers and row.what and row.agreement for name, row in ROWS.items())
    assert all(set(row.dtypes) <= {"float64", "float32"} for row in ROWS.values())


def test_peers_that_are_absent_are_skipped(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "jax" else find(name, *a))
    (found,) = measured(ROWS["kernel"], ["jax"])
    assert found == {"peer": "jax", "status": "skipped", "reason": "jax is not installed"}


def made(dtype, quick):
    """Numbers that are drawn, and peers with all ways to go wrong."""
    x = np.ones(10, dtype)

    def pair(peer):
        if peer == "absent":
            raise Unavailable("absent is not installed")
        if peer == "broken":
            raise OSError("no\nsuch library")
        if peer == "wrong":
            np.testing.assert_allclose(x, 2 * x)
        return Pair(x.sum, x.sum)

    return "n=10", pair


def test_a_peer_that_fails_is_reported_and_the_others_go_on():
    row = Row("sum", "a sum", "all", ("absent", "broken", "wrong", "good"), made)
    absent, broken, wrong, good = measured(row)
    assert (absent["status"], good["status"]) == ("skipped", "measured")
    assert (broken["status"], broken["reason"]) == ("failed", "OSError: no such library")
    assert wrong["status"] == "failed"
    assert wrong["reason"].startswith("answers differ")


def test_units_are_in_seconds_and_ratios():
    def timer(ours, theirs, rounds, turn):
        return np.array([4.0, 8.0]), np.array([1.0, 3.0])

    row = Row("sum", "a sum", "all", ("good",), lambda *_: ("", lambda _: Pair(None, None, 4, 2, timer)))
    (found,) = measured(row)
    assert found["seconds"] == {"min": 1.0, "median": 1.5, "max": 2.0}
    assert found["ratios"] == {"min": 2.0, "median": 4.0, "max": 6.0}


def test_a_problem_that_cannot_be_made_is_reported_for_every_peer():
    def unmade(dtype, quick):
        raise MemoryError("too large")

    assert [one["status"] for one in measured(Row("a", "b", "c", ("x", "y"), unmade))] == ["failed", "failed"]


def test_threads_are_as_before():
    before = lvm.get_num_threads()
    with threads(before + 1):
        assert lvm.get_num_threads() == before + 1
    assert lvm.get_num_threads() == before


def test_command_measures(tmp_path, capsys):
    path = tmp_path / "report.json"
    arguments = ["bench", "random-*", "--quick", "--threads", "1", "--rounds", "1", "--peers", "PCG64"]
    assert cli.main([*arguments, "--json", "--output", str(path)]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert json.loads(path.read_text(encoding="utf-8")) == report
    assert set(report) == {"machine", "quick", "interrupted", "measurements"}
    assert {"date", "processor", "processors", "instruction_set", "blas", "versions"} <= set(report["machine"])
    assert {"lvmfast", "numpy", "scipy", "scikit-learn"} <= set(report["machine"]["versions"])
    (one,) = report["measurements"]
    expected = {"row": "random-normal", "peer": "PCG64", "threads": 1, "dtype": "float64", "status": "measured"}
    assert expected.items() <= one.items()
    assert {"what", "size", "agreement", "seconds", "ratios", "rounds"} <= set(one)
    assert "PCG64" in err


def test_a_peer_that_ends_the_process_is_reported_and_the_others_go_on(fake, capsys):
    assert cli.main(["bench", "one", "two", "--threads", "1", "2"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 2 * 2 * 3 + 1
    assert lines[0].split()[:5] == ["row", "peer", "threads", "dtype", "ours"]
    assert "1.00 / 22.0 / 333" in lines[1]
    assert "failed: the process ended with status 3: out of luck" in lines[2]
    assert "skipped: absent is not installed" in lines[3]
    assert len({line.index("float64") for line in lines[1:-1]}) == 1
    assert [line.split()[2] for line in lines[1:-1]] == ["1"] * 6 + ["2"] * 6


def test_list(fake, capsys):
    assert cli.main(["bench", "--list"]) == 0
    out = capsys.readouterr().out
    assert "slow" in out
    assert "good, hanging" in out
    assert cli.main(["bench", "--list", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["one", "two", "slow"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["three"], "there is no row 'three'; there are one, two, slow"),
        (["one", "--peers", "hanging"], "there is no peer of these rows 'hanging'; there are good, fatal, absent"),
        (["slow", "--dtypes", "float64"], "dtypes must be those of a row, got float64 for slow"),
    ],
)
def test_names_that_there_are_not(fake, capsys, arguments, message):
    assert cli.main(["bench", *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--threads", "--rounds"])
def test_numbers_below_one(capsys, option):
    with pytest.raises(SystemExit):
        cli.main(["bench", option, "0"])
    assert f"argument {option}: must be >= 1, got 0" in capsys.readouterr().err


def test_control_c_prints_what_is_there(fake, capsys):
    def interrupt(one, todo):
        lines(one, todo)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    lines = _bench.Lines(None)
    report = _bench.run(["slow"], threads=[1], tell=interrupt)
    assert report["interrupted"]
    (one,) = report["measurements"]
    assert one["peer"] == "good"
    assert "22.0" in capsys.readouterr().out
    with pytest.raises(ProcessLookupError):  # nothing goes on behind
        os.kill(int(one["size"]), 0)


def test_status_after_control_c(fake, capsys, monkeypatch):
    def interrupted(todo, threads, rounds, quick):
        yield {"row": "one", "dtype": "float64", "peer": "good", "threads": 1, "status": "skipped", "reason": "why not"}
        raise KeyboardInterrupt

    monkeypatch.setattr(_bench, "measurements", interrupted)
    assert cli.main(["bench", "one", "--json"]) == 130
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["interrupted"]
    assert len(report["measurements"]) == 1
    assert "interrupted" in err


def test_a_file_that_cannot_be_written_is_an_error_at_once(fake, tmp_path, capsys):
    assert cli.main(["bench", "one", "--output", str(tmp_path / "nowhere" / "report.json")]) == 1
    out, err = capsys.readouterr()
    assert "nowhere" in err
    assert not out


def test_errors_leave_no_file(fake, tmp_path, capsys):
    assert cli.main(["bench", "three", "--output", str(tmp_path / "report.json")]) == 1
    assert not (tmp_path / "report.json").exists()
    assert cli.main(["bench", "one", "--peers", "absent", "--output", str(tmp_path)]) == 1  # a folder: at once
    out, err = capsys.readouterr()
    assert str(tmp_path) in err
    assert not out


def test_the_worker_has_this_lvmfast(tmp_path, monkeypatch):
    """Also one that Python found by its folder alone, which is not that of a script."""
    (tmp_path / "worker.py").write_text("import json, sys; print(json.dumps(sys.path))")
    monkeypatch.setattr(_bench, "folder", lambda: tmp_path)
    monkeypatch.setattr(lvm, "__file__", str(tmp_path / "clone" / "lvmfast" / "__init__.py"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "peers"))
    assert _bench.table()[1:3] == [str(tmp_path / "clone"), str(tmp_path / "peers")]
    monkeypatch.setattr(lvm, "__file__", str(Path(sysconfig.get_paths()["platlib"]) / "lvmfast" / "__init__.py"))
    assert _bench.environment() == dict(os.environ)


def test_ratios_have_three_digits():
    assert [_bench.number(r) for r in (0.00456, 0.5, 1.0, 22.0, 1234.5)] == ["0.00456", "0.500", "1.00", "22.0", "1234"]


def test_a_broken_installation_is_an_error(tmp_path, monkeypatch, capsys):
    (tmp_path / "worker.py").write_text("raise ImportError('no table')")
    monkeypatch.setattr(_bench, "folder", lambda: tmp_path)
    assert cli.main(["bench"]) == 1
    assert "the benchmarks do not start: ImportError: no table" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(lvm, "__file__", str(tmp_path / "lvmfast" / "__init__.py"))
    assert cli.main(["bench", "--list"]) == 1
    assert "install lvmfast anew" in capsys.readouterr().err


def test_more_threads_than_processors(capsys):
    most = _backend.available_cpus()
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", "--threads", str(most + 1)])
    assert ended.value.code == 2
    assert f"must be <= {most}, the processors here, got {most + 1}" in capsys.readouterr().err
