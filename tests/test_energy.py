"""Energy by phase, radios, sensors of the host, and carbon at the intensity that the file says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgenet.devices import PROFILES
from edgenet.devices.radio import RADIOS
from edgenet.launchers.policy import Seat
from edgenet.launchers.record import Record
from edgenet.launchers.shaping import Shaping
from edgenet.meters import energy, power
from edgenet.results.rundir import RunDir
from edgenet.results.write import write_all
from edgenet.topology import dump, loads

PI4 = PROFILES["pi4"]
DID = energy.Activity(
    wall_s=100.0, cpu_s=10.0, slowdown=5.0, compute_s=40.0, send_s=10.0, wait_s=30.0,
    sent_bytes=4_000_000, received_bytes=1_000_000,
)  # fmt: skip


def test_phases_add_up_to_the_whole() -> None:
    found = energy.phases(PI4, DID)
    assert found is not None
    whole = energy.energy_j(PI4, wall_s=100.0, cpu_s=10.0, slowdown=5.0)
    assert found.total_j == pytest.approx(whole)
    idle, busy = PI4.idle_w, PI4.load_w - PI4.idle_w
    assert found.compute_j == pytest.approx(40 * idle + 40 * busy)  # 40 of the 50 busy seconds
    assert (found.send_j, found.wait_j) == pytest.approx((10 * idle, 30 * idle))
    assert found.other_j == pytest.approx(20 * idle + 10 * busy)


def test_a_radio_costs_time_and_bytes() -> None:
    """Huang et al. 2012, Table 4: at 1 Mbit/s up, LTE draws 438.39 + 1288.04 mW."""
    lte = RADIOS["lte"]
    second = energy.Activity(wall_s=1.0, cpu_s=0.0, send_s=1.0, sent_bytes=125_000)
    with_radio, without = energy.phases(PI4, second, lte), energy.phases(PI4, second)
    assert with_radio is not None
    assert without is not None
    assert with_radio.send_j - without.send_j == pytest.approx(1.28804 + 0.43839)
    second = energy.Activity(wall_s=1.0, cpu_s=0.0, wait_s=1.0, received_bytes=1_250_000)
    waited = energy.phases(PI4, second, RADIOS["wifi"])
    assert waited is not None
    assert waited.wait_j == pytest.approx(PI4.idle_w + 0.13286 + 1.3701)
    assert all("Huang" in radio.source for radio in RADIOS.values())


def test_unknown_power_stays_unknown() -> None:
    assert energy.phases(PROFILES["host"], DID, RADIOS["lte"]) is None


# ---- sensors --------------------------------------------------------------------------------


def rapl(root: Path, counts: dict[str, int]) -> None:
    for name, count in counts.items():
        zone = root / "sys/class/powercap" / name
        zone.mkdir(parents=True, exist_ok=True)
        (zone / "energy_uj").write_text(f"{count}\n")
        (zone / "max_energy_range_uj").write_text("1000000000\n")


def test_rapl_counts_packages_once_and_wraps_around(tmp_path: Path) -> None:
    rapl(tmp_path, {"intel-rapl:0": 999_000_000, "intel-rapl:1": 5, "intel-rapl:0:0": 7})
    sensor = power.find(tmp_path)
    assert sensor is not None
    assert sensor.name == "rapl"
    rapl(tmp_path, {"intel-rapl:0": 1_999_999, "intel-rapl:1": 4_000_005, "intel-rapl:0:0": 9**9})
    assert sensor.joules() == pytest.approx(3.0 + 4.0)
    assert sensor.joules() == pytest.approx(7.0)


def test_a_jetsons_supply_rail_is_integrated(tmp_path: Path) -> None:
    folder = tmp_path / "sys/class/hwmon/hwmon3"
    folder.mkdir(parents=True)
    for name, text in (("in1_label", "VDD_CPU_GPU_CV"), ("in1_input", "5000"),
                       ("curr1_input", "9000"), ("in2_label", "VDD_IN"), ("in2_input", "5000"),
                       ("curr2_input", "1200")):  # fmt: skip
        (folder / name).write_text(text + "\n")
    sensor = power.find(tmp_path)
    assert isinstance(sensor, power.Integrated)
    assert (sensor.name, sensor._watts()) == ("ina3221", 6.0)


def test_watts_become_joules_by_the_trapezoidal_rule() -> None:
    at, watts = iter([0.0, 1.0, 3.0]), iter([2.0, 4.0, 4.0])
    sensor = power.Integrated("pmic", lambda: next(watts), lambda: next(at))
    assert sensor.joules() == pytest.approx(3.0)
    assert sensor.joules() == pytest.approx(11.0)


def test_the_pi_5s_rails_are_summed() -> None:
    told = (
        "   3V7_WL_SW_A current(0)=0.10000000A\n   VDD_CORE_A current(7)=2.00000000A\n"
        "   3V7_WL_SW_V volt(8)=3.70000000V\n   VDD_CORE_V volt(15)=0.90000000V\n"
        "   EXT5V_V volt(24)=5.10000000V\n"
    )
    assert power.pmic_watts(told) == pytest.approx(0.37 + 1.8)
    with pytest.raises(ValueError, match="no rails"):
        power.pmic_watts("error")


def test_a_host_without_sensors_has_none(tmp_path: Path) -> None:
    assert power.find(tmp_path) is None


# ---- in results -----------------------------------------------------------------------------

TOPOLOGY = """\
name: cell
nodes: {edge: {device: edge-server}, cam: {device: pi4, count: 1, at: [[10, 0]]}}
links: {cell: {lte: {bandwidth: 20 MHz}, base: edge, members: cam}}
train: {scheme: fedavg}
carbon: 0.34
"""


def test_carbon_intensity_is_a_setting() -> None:
    spec = loads(TOPOLOGY.replace("edge-server}", "edge-server, at: [0, 0]}"), file="cell.yaml")
    assert spec.carbon_kg_per_kwh == 0.34
    assert loads(dump(spec), file="again.yaml") == spec
    assert replace(spec, carbon_kg_per_kwh=0.243) != spec


@pytest.mark.parametrize("measured", [False, True])
def test_summary_says_how_each_joule_is_known(tmp_path: Path, measured: bool) -> None:
    text = TOPOLOGY.replace("edge-server}", "edge-server, at: [0, 0]}")
    spec, run = loads(text, file="cell.yaml"), RunDir(tmp_path)
    seats = [Seat(name=name, role=role, device=device, essential=True)
             for name, role, device in (("edge", "server", "edge-server"),
                                        ("cam0", "learner", "pi4"))]  # fmt: skip
    Record(run, spec, seats, Shaping("none", "for a test"), "local").write()
    for name, device in (("edge", "edge-server"), ("cam0", "pi4")):
        journal = [
            {"e": "start", "t": 0.0, "r": 0, "role": "x", "device": device, "slowdown": 1.0},
            {"e": "span", "t": 1.0, "r": 1, "k": "compute", "n": "forward", "d": 4.0},
            {"e": "span", "t": 5.0, "r": 1, "k": "send", "n": "send", "d": 5.0},
            {"e": "resources", "t": 9.9, "r": 1, "cpu_s": 4.0},
            {"e": "end", "t": 10.0, "r": 1, "status": "done", "code": 0},
        ]
        if name == "cam0":
            journal.insert(3, {"e": "bytes", "t": 9.0, "r": 1, "peer": "edge", "dir": "out",
                               "k": "weights", "payload": 1_000_000, "overhead": 0,
                               "messages": 1})  # fmt: skip
            if measured:
                journal.insert(4, {"e": "energy", "t": 9.9, "r": 1, "sensor": "rapl",
                                   "joules": 50.0})  # fmt: skip
        folder = tmp_path / "nodes" / name
        folder.mkdir(parents=True)
        (folder / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in journal))
    summary = write_all(run)
    edge, cam = summary["nodes"]["edge"]["energy"], summary["nodes"]["cam0"]["energy"]
    assert (edge["radio"], edge["source"]) == (None, "modelled")
    assert cam["radio"] == "lte"
    assert cam["source"] == ("measured (rapl)" if measured else "modelled")
    modelled = 10 * PI4.idle_w + 1.0 * (PI4.load_w - PI4.idle_w) + 5 * 1.28804 + 3.50712
    assert cam["total_j"] == pytest.approx(50.0 if measured else modelled)
    phases = ("compute_j", "send_j", "wait_j", "other_j")
    assert sum(cam[phase] for phase in phases) == pytest.approx(cam["total_j"])
    assert sum(summary["energy_phases_kwh"].values()) == pytest.approx(summary["energy_kwh"])
    assert summary["carbon_g"] == pytest.approx(summary["energy_kwh"] * 340)
    assert summary["carbon_kg_per_kwh"] == 0.34
