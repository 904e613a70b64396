"""The timetable of a round: which messages it shows, and where an emulated device waits."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_run import START_S, Writer

from edgenet.cli.main import main
from edgenet.results.acts import boxes, messages

NODES = ("cam0", "cam1", "edge")
Told = list[tuple[str, str, float, float]]


def compute(writer: Writer, node: str, n: str, t: float) -> None:
    writer.span(node, "compute", t, 0.1, 1, n=n)


def counted(writer: Writer, source: str, target: str, kind: str, messages: int) -> None:
    how = {"peer": target, "dir": "out", "k": kind, "payload": 8, "overhead": 1}
    writer.event(source, "bytes", 90.0, 1, messages=messages, **how)


def exchanged(writer: Writer, client: str, batches: int) -> None:
    counted(writer, client, "edge", "activation", batches)
    counted(writer, "edge", client, "gradient", batches)


def batch(writer: Writer, t: float, clients: tuple[str, ...]) -> None:
    """Split learning: a forward at each client, forward and backward of the server, backwards."""
    for client in clients:
        compute(writer, client, "forward", t)
        compute(writer, client, "backward", t + 1.5)
    compute(writer, "edge", "forward", t + 0.5)
    compute(writer, "edge", "backward", t + 0.7)


def told(writer: Writer) -> Told:
    found = messages(writer.run, boxes(writer.run, NODES, 1), 1)
    ends = [(each.ready_s - START_S, each.taken_s - START_S) for each in found]
    return sorted(
        (each.sender, each.receiver, round(ready, 3), round(taken, 3))
        for each, (ready, taken) in zip(found, ends, strict=True)
    )


def crossing(client: str, t: float) -> Told:
    """What `batch` exchanges."""
    return [(client, "edge", t + 0.1, t + 0.5), ("edge", client, t + 0.8, t + 1.5)]


def test_parts_of_a_batch_cross_side_by_side(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    batch(writer, 10.0, ("cam0", "cam1"))
    batch(writer, 20.0, ("cam0",))  # cam1 has less data
    exchanged(writer, "cam0", 2)
    exchanged(writer, "cam1", 1)
    assert told(writer) == sorted(
        crossing("cam0", 10.0) + crossing("cam0", 20.0) + crossing("cam1", 10.0)
    )


def test_clients_come_one_after_the_other(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for t, client in ((10.0, "cam1"), (20.0, "cam1"), (30.0, "cam0")):
        batch(writer, t, (client,))
    exchanged(writer, "cam0", 1)
    exchanged(writer, "cam1", 2)
    assert told(writer) == sorted(
        crossing("cam1", 10.0) + crossing("cam1", 20.0) + crossing("cam0", 30.0)
    )


def test_nothing_is_told_of_what_the_events_do_not_tell(tmp_path: Path) -> None:
    alone = Writer(tmp_path / "fedavg")
    for node in NODES:
        compute(alone, node, "forward", 10.0)
        compute(alone, node, "backward", 11.0)
        counted(alone, node, "edge", "weights", 1)
        counted(alone, node, "cam0", "gradient", 1)  # as data-parallel learning exchanges them
    assert told(alone) == []
    fewer = Writer(tmp_path / "fewer")
    batch(fewer, 10.0, ("cam0",))
    batch(fewer, 20.0, ("cam0",))
    exchanged(fewer, "cam0", 1)
    assert told(fewer) == []


def test_no_message_runs_back_in_time(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    compute(writer, "cam0", "forward", 10.0)
    compute(writer, "edge", "forward", 9.9)  # by the clock of another host
    compute(writer, "edge", "backward", 10.4)
    compute(writer, "cam0", "backward", 11.0)
    exchanged(writer, "cam0", 1)
    assert told(writer) == [("edge", "cam0", 10.5, 11.0)]


def test_what_a_resumed_run_did_again_counts_once(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for t in (10.0, 50.0):
        batch(writer, t, ("cam0",))
        exchanged(writer, "cam0", 1)
        if t == 10.0:
            for node in NODES:
                writer.event(node, "resumed", 40.0, after=0)
    assert told(writer) == sorted(crossing("cam0", 50.0))


@pytest.mark.parametrize("drawn", [2, 3])
def test_a_slower_device_is_seen_or_told_of(tmp_path: Path, drawn: int) -> None:
    writer = Writer(tmp_path)
    for t in (10.0, 11.0, 12.0):
        compute(writer, "cam0", "forward", t)
        compute(writer, "cam1", "forward", t)
    writer.span("cam0", "idle", 12.2, 0.75, 1, n="slowdown")
    picture = tmp_path / "p.svg"
    assert main(["trace", str(tmp_path), "--batches", str(drawn), "--plot", str(picture)]) == 0
    text = picture.read_text(encoding="utf-8")
    later = "<!-- cam0 works at the host&#x27;s speed here; it sleeps 750 ms for it after batch 3"
    assert (later.replace("&#x27;", "'") in text) == (drawn == 2)
    assert ("<!-- slower device: waits -->" in text) == (drawn == 3)
    assert "<!-- message -->" not in text
    assert "cam1 works" not in text
