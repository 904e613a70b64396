"""What is shipped beside the package: topologies and traces."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from edgenet.cli.main import main
from edgenet.topology.traces import read_trace

TOPOLOGIES = Path(__file__).parents[1] / "topologies"
NAMES = sorted(path.stem for path in TOPOLOGIES.glob("*.yaml"))
PROMISED = {
    "quickstart",
    "five-cameras-lte",
    "split-wifi",
    "two-workers-ethernet",
    "three-workers-ethernet",
    "pi1-jetson",
    "pi-cluster",
    "road-trace",
}


def test_what_is_promised_is_there() -> None:
    assert set(NAMES) >= PROMISED


@pytest.mark.parametrize("name", NAMES)
def test_every_topology_passes_the_check(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGENET_DATA", raising=False)
    assert main(["check", str(TOPOLOGIES / f"{name}.yaml")]) == 0
    assert "shaping: " in capsys.readouterr().out


def test_the_check_tells_what_happens_when(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(TOPOLOGIES / "road-trace.yaml")]) == 0
    shown = capsys.readouterr().out
    assert "3 events, from when all have joined:" in shown
    assert "6 s  cable is cut (unit1)" in shown
    assert "road: up follows a trace of 20 s, by 100 ms, again and again" in shown


@pytest.mark.parametrize("name", ["road-up", "road-down"])
def test_the_traces_are_what_their_script_makes(name: str) -> None:
    script = runpy.run_path(str(TOPOLOGIES / "traces" / "make_traces.py"))
    times = script["opportunities"](name, script["MEANS_BPS"][name])
    path = TOPOLOGIES / "traces" / f"{name}.trace"
    assert path.read_text() == "".join(f"{time}\n" for time in times)
    trace = read_trace(path)
    assert (trace.period_s, len(trace.packets), sum(trace.packets)) == (20.0, 200, len(times))
    assert set(trace.packets[111:115]) == {0}
