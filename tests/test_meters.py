from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgenet.devices import PROFILES
from edgenet.meters import Journal, energy, resources
from edgenet.meters.resources import ResourceMeter, Sampler, peak_rss_bytes, pss_bytes


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "events.jsonl")
    yield journal
    journal.close()


def events(tmp_path: Path, journal: Journal) -> list[dict[str, Any]]:
    journal.flush()
    return [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]


def burn() -> float:
    """Some work for the processor."""
    return sum(float(number) ** 0.5 for number in range(200_000))


def test_processor_seconds_start_at_zero_and_grow() -> None:
    burn()
    meter = ResourceMeter()
    first = meter.read()
    burn()
    second = meter.read()
    assert 0.0 <= first.cpu_s < second.cpu_s < 60.0


def test_the_peak_is_never_below_what_is_resident() -> None:
    ballast = bytearray(32 * 2**20)
    usage = ResourceMeter().read()
    assert usage.peak_rss_bytes >= usage.rss_bytes > len(ballast)
    del ballast
    assert peak_rss_bytes() >= usage.peak_rss_bytes - 2**20


def test_the_peak_without_procfs_is_getrusages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_proc_kib", lambda path, key: None)
    linux = peak_rss_bytes()
    monkeypatch.setattr(resources.sys, "platform", "darwin")
    assert linux == peak_rss_bytes() * 1024  # getrusage counts KiB there and bytes here
    assert pss_bytes() is None


def test_a_file_that_is_not_there_gives_none(tmp_path: Path) -> None:
    assert resources._proc_kib(str(tmp_path / "none"), "Pss:") is None
    (tmp_path / "some").write_text("Rss: 7 kB\nPss:        12 kB\n")
    assert resources._proc_kib(str(tmp_path / "some"), "Pss:") == 12
    assert resources._proc_kib(str(tmp_path / "some"), "Swap:") is None


@pytest.mark.skipif(pss_bytes() is None, reason="no /proc/self/smaps_rollup here")
def test_the_share_is_no_more_than_what_is_resident() -> None:
    usage = ResourceMeter().read(shared=True)
    assert usage.pss_bytes is not None
    assert 0 < usage.pss_bytes < usage.rss_bytes + 2**22


def test_a_sample_is_an_event(tmp_path: Path, journal: Journal) -> None:
    ResourceMeter().sample(journal, more={"peak_weight_bytes": 77})
    (event,) = events(tmp_path, journal)
    assert event["e"] == "resources"
    assert event["peak_weight_bytes"] == 77
    assert event["peak_rss_bytes"] >= event["rss_bytes"] > 0
    assert "pss_bytes" not in event


def test_the_sampler_samples_while_the_block_runs_and_at_its_end(
    tmp_path: Path, journal: Journal
) -> None:
    ticks = threading.Semaphore(0)
    sampler = Sampler(journal, interval_s=0.001, more=lambda: {"x": 1}, beside=ticks.release)
    with sampler, journal.span("wait", "recv"):
        for _ in range(3):  # the second began within the span, and was over when the third began
            assert ticks.acquire(timeout=10.0)
    assert not sampler._thread.is_alive()
    seen = events(tmp_path, journal)
    assert seen[-1]["e"] == "resources"
    assert seen[-1]["x"] == 1
    assert any(event["e"] == "doing" and event["k"] == ["wait"] for event in seen)


def test_doing_names_each_open_kind_once(tmp_path: Path, journal: Journal) -> None:
    with journal.span("send", "a"), journal.span("compute", "b"), journal.span("send", "c"):
        journal.doing()
    journal.doing()
    seen = [event["k"] for event in events(tmp_path, journal) if event["e"] == "doing"]
    assert seen == [["compute", "send"], []]


def test_a_span_that_raises_is_written_and_closed(tmp_path: Path, journal: Journal) -> None:
    with pytest.raises(ZeroDivisionError), journal.span("compute", "step", peer="b"):
        raise ZeroDivisionError
    journal.doing()
    span, doing = events(tmp_path, journal)
    assert (span["e"], span["k"], span["n"], span["peer"]) == ("span", "compute", "step", "b")
    assert span["d"] >= 0
    assert doing["k"] == []


def test_a_span_belongs_to_the_round_in_which_it_began(tmp_path: Path, journal: Journal) -> None:
    journal.round = 1
    with journal.span("wait", "recv"):
        journal.round = 2
    assert events(tmp_path, journal)[0]["r"] == 1


def test_urgent_events_are_on_disk_at_once(tmp_path: Path, journal: Journal) -> None:
    path = tmp_path / "events.jsonl"
    journal.event("log", text="later")
    assert path.read_text() == ""
    journal.event("fault", peer="b", what="lost")
    assert [json.loads(line)["e"] for line in path.read_text().splitlines()] == ["log", "fault"]


def test_a_closed_journal_drops_events(tmp_path: Path, journal: Journal) -> None:
    journal.close()
    journal.event("end", status="done")
    journal.flush()
    assert (tmp_path / "events.jsonl").read_text() == ""


def test_a_journal_without_a_file_keeps_nothing() -> None:
    journal = Journal()
    with journal.span("compute", "forward"):
        journal.event("round", loss=1.0)
    journal.close()


def test_an_idle_device_takes_its_idle_power() -> None:
    pi4 = PROFILES["pi4"]
    assert energy.energy_j(pi4, wall_s=10.0, cpu_s=0.0) == pytest.approx(10 * pi4.idle_w)


def test_an_emulated_device_is_busy_as_long_as_it_would_be() -> None:
    pi4 = PROFILES["pi4"]
    found = energy.energy_j(pi4, wall_s=10.0, cpu_s=1.0, slowdown=4.0)
    assert found == pytest.approx(10 * pi4.idle_w + 4 * (pi4.load_w - pi4.idle_w))


def test_a_device_never_takes_more_than_its_full_load() -> None:
    pi4 = PROFILES["pi4"]
    found = energy.energy_j(pi4, wall_s=10.0, cpu_s=9.0, slowdown=4.0)
    assert found == pytest.approx(10 * pi4.load_w)


def test_on_its_own_hardware_processor_seconds_spread_over_the_cores() -> None:
    pi4 = PROFILES["pi4"]
    found = energy.energy_j(pi4, wall_s=10.0, cpu_s=8.0)
    assert found == pytest.approx(10 * pi4.idle_w + 2 * (pi4.load_w - pi4.idle_w))


def test_a_device_of_unknown_power_has_no_energy() -> None:
    assert energy.energy_j(PROFILES["host"], wall_s=10.0, cpu_s=1.0) is None


def test_carbon_of_a_kilowatt_hour() -> None:
    assert energy.carbon_g(3.6e6) == pytest.approx(243.0)
    assert energy.carbon_g(3.6e6, kg_per_kwh=0.34) == pytest.approx(340.0)
