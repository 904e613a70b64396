"""`edgenet probe`, and runs that probe first: real processes, on one host and in namespaces."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from facilities import needs
from test_networks import judge

pytestmark = pytest.mark.processes

TOPOLOGY = """\
name: probed
nodes: {server: {}, learner: {count: 2}}
links: {air: {rate: 20 Mbit, delay: 5 ms, base: server, members: learner, shared: true}}
train: {scheme: fedavg, model: two-nn-small, data: {name: digits, train: 60, test: 30},
        rounds: 1, batch: 20, lr: 0.1}
probe: {budget: 2 s}
seed: 7
"""
TOO_FAST = "links.air.rate=400 Gbit"
"""More than any host's loopback, and any relay, carries."""
WAIT_S = 100.0
BUSY = "probe.tolerance=99 %"
"""For a host on which other tests run: what is asserted is that the phases fit together."""
CLOSE = 0.45
"""How far a rate may be from what was asked, in one of a few tries."""

WAYS = {("server", "learner0"), ("learner0", "server"), ("server", "learner1"),
        ("learner1", "server")}  # fmt: skip

namespaces = needs("root", "network namespaces", "TUN")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "probed.yaml"
    path.write_text(TOPOLOGY, encoding="utf-8")
    return path


def edgenet(command: str, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "edgenet", command, str(file), *options]
    if command == "run":
        words += ["--out", str(file.parent / "runs")]
    return subprocess.run(words, capture_output=True, text=True, timeout=WAIT_S, check=False)


def recorded(file: Path) -> dict[str, Any]:
    """run.json of the only run."""
    (folder,) = (file.parent / "runs").iterdir()
    value: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return value | {"summary": json.loads((folder / "summary.json").read_text(encoding="utf-8"))}


def set_(*changes: str) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def test_the_command_prints_a_row_for_each_direction(file: Path) -> None:
    def tried(_trial: str, _again: bool) -> Any:
        return edgenet("probe", file, "--format", "json", *set_(BUSY))

    def verdict(done: Any) -> None:
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["shaping"]["used"] == "paced"
        assert {(row["source"], row["target"]) for row in found["rows"]} == WAYS
        for row in found["rows"]:
            assert row["over"] == "air"
            assert row["asked"]["goodput_bps"] == 20e6
            assert row["measured"]["goodput_bps"] == pytest.approx(20e6, rel=CLOSE)
            assert row["measured"]["loss"] is None
            assert row["off"] == []

    judge(tried, "paced", verdict)


def test_the_command_ends_with_3_when_a_link_is_off(file: Path) -> None:
    done = edgenet("probe", file, *set_(TOO_FAST))
    assert done.returncode == 3
    assert "<-- off: rate" in done.stdout
    assert "0 of 4 ways are what was asked" in done.stdout
    assert "rate asked 400 Gbit/s, measured" in done.stderr


def test_a_run_refuses_to_train_over_a_link_that_is_off(file: Path) -> None:
    done = edgenet("run", file, "--probe", *set_(TOO_FAST))
    assert done.returncode == 3
    for word in ("link 'air'", "asked 400 Gbit/s, measured", "--probe-tolerance", "--no-probe"):
        assert word in done.stderr.splitlines()[-1]
    run = recorded(file)
    assert run["summary"]["rounds"] == 0
    assert run["probe"]["refused"] in run["error"]


def test_a_local_run_measures_only_when_it_is_asked_to(file: Path) -> None:
    done = edgenet("run", file, "--no-probe", *set_(TOO_FAST))
    assert done.returncode == 0, done.stderr
    assert "probe" not in recorded(file)


def test_what_a_probe_sends_is_no_part_of_the_schemes_cost(file: Path) -> None:
    done = edgenet("run", file, "--probe", *set_(BUSY))
    assert done.returncode == 0, done.stderr
    run = recorded(file)
    bytes_ = run["summary"]["bytes"]
    assert run["probe"]["seconds"] > 0
    assert bytes_["probe"]["payload"] > 4 * 20e6 / 8 * 0.1
    assert bytes_["payload"] == sum(each["payload"] for each in bytes_["by_kind"].values())
    assert set(bytes_["by_kind"]) <= {"weights", "control"}
    assert run["summary"]["nodes"]["server"]["wait_s"] < run["probe"]["seconds"] + 5


@namespaces
@pytest.mark.root
def test_in_namespaces_a_run_measures_by_itself_packets_too(file: Path) -> None:
    cell = ("links.air.jitter=2 ms", "links.air.loss=1 %", BUSY)

    def tried(_trial: str, again: bool) -> Any:
        if again:
            shutil.rmtree(file.parent / "runs")
        done = edgenet("run", file, "--shaping", "relay", *set_(*cell))
        return done, recorded(file)["probe"]["rows"]

    def verdict(found: Any) -> None:
        done, rows = found
        assert done.returncode == 0, done.stderr
        assert {(row["source"], row["target"]) for row in rows} == WAYS
        for row in rows:
            measured, counted = row["measured"], row["packets"]
            assert None not in measured.values()
            assert measured["packets_bps"] == pytest.approx(20e6, rel=CLOSE)
            assert 0.0 <= measured["loss"] < 0.035
            assert 0.5e-3 < measured["jitter_s"] < 5e-3
            assert counted["loss"] >= 500

    judge(tried, "cell", verdict)


def test_ranks_of_torchrun_measure_when_they_are_asked_to(file: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "3",
               "--log-dir", str(file.parent / "logs"),
               "-m", "edgenet.worker", str(file), "--probe", *set_(BUSY),
               "--out", str(file.parent / "runs")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stderr
    rows = recorded(file)["probe"]["rows"]
    assert {(row["source"], row["target"]) for row in rows} == WAYS
    assert all(row["measured"]["goodput_bps"] is not None for row in rows)
