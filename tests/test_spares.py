"""Spare devices: what is refused before a run, and a run in which one takes a lost node's place."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from chains import finish
from small_runs import assert_same, events
from test_faults import Run, gone, start

from edgenet.channels import Orders
from edgenet.cli.main import main
from edgenet.errors import TopologyError
from edgenet.launchers.control import ask
from edgenet.launchers.policy import Seat
from edgenet.launchers.witness import Witness
from edgenet.meters import Journal
from edgenet.node.plan import resolve
from edgenet.node.spares import reseat
from edgenet.results.rundir import RunDir, new_run_dir
from edgenet.topology import Topology, dump, loads
from edgenet.topology.spares import stand_in
from edgenet.topology.spec import TimedEvent

__all__ = ["start"]  # a fixture

BOUND_S = 90.0


def spec(
    *,
    links: str = "{lan: {rate: 10 Gbit, members: [worker, spare]}}",
    device: str = "host",
    others: str = "",
    spares: str = "spare",
    more: str = "",
    rounds: int = 14,
    restart: int = 2,
) -> Topology:
    """Three workers on a switch, and a spare."""
    text = f"""\
name: spares
nodes: {{worker: {{device: host, count: 3}}, spare: {{device: {device}}}{others}}}
links: {links}
faults: {{heartbeat: 0.5 s, silence: 2 s, restart: {restart}, checkpoint: 2, spares: {spares}}}
train: {{scheme: mcpipe, model: alexnet-w4, data: {{name: digits, train: 60, test: 40}},
        rounds: {rounds}, batch: 10, window: 3, lr: 0.05}}
shaping: paced
seed: 4
{more}"""
    return loads(text, file="spares.yaml")


def test_it_plays_no_role_and_is_written_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, path = spec(), tmp_path / "spares.yaml"
    assert loads(dump(found)).faults.spares == ("spare",)
    assert [seat.name for seat in resolve(found).seats] == ["worker0", "worker1", "worker2"]
    path.write_text(dump(found), encoding="utf-8")
    assert main(["check", str(path)]) == 0
    (row,) = [line.split() for line in capsys.readouterr().out.splitlines() if "- " in line[:4]]
    assert row[:4] == ["-", "spare", "spare", "host"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"spares": "nobody"}, "faults names unknown node 'nobody'"),
        ({"restart": 0}, "has spares, but restart is 0"),
        ({"more": "place: {worker: [worker, spare]}"}, "a spare plays no role until"),
        (
            {"links": "{lan: {rate: 1 Gbit, members: worker}}"},
            "spares.yaml:4: spare 'spare' cannot take the place of 'worker0': 'spare' would not "
            "reach 'worker1' without it; join 'spare' and 'worker1' by a link",
        ),
        (
            {"links": "{a: {rate: 1 Gbit, between: [worker0, worker1]}, b: {rate: 1 Gbit, "
                      "members: [worker1, worker2, spare]}}"},
            "cannot take the place of 'worker1': 'worker0' would not reach 'spare' without it",
        ),
        (
            {"device": "tiny", "more": "devices: {tiny: {memory_bytes: 20480}}"},
            "its device 'tiny' has 20 KiB, and the node's part of the model takes",
        ),
    ],
)  # fmt: skip
def test_what_could_not_take_a_place_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(TopologyError) as raised:
        resolve(spec(**wrong))
    assert words in str(raised.value)


def test_a_place_taken_has_the_spares_device_and_links_and_nothing_else_is_new() -> None:
    near = "{lan: {rate: 10 Gbit, members: worker}, far: {rate: 1 Mbit, members: [spare, worker]}}"
    plan = resolve(spec(links=near, device="pi4"))
    other = reseat(plan, "worker1", "spare")
    assert other.channel("worker0", "worker1").rate_bps == 1e6
    assert other.channel("worker0", "worker2") == plan.channel("worker0", "worker2")
    assert [seat.device for seat in other.seats] == ["host", "pi4", "host"]
    assert (other.layout, other.digest) == (plan.layout, plan.digest)
    assert stand_in(other.topology, "worker1", "spare") == plan.topology


def test_orders_for_a_device_go_with_it_under_the_name_that_it_has_now(tmp_path: Path) -> None:
    links = "{lan: {rate: 1 Gbit, members: [worker, spare, other]}}"
    found = spec(links=links, others=", other: {}", spares="[spare, other]")
    plan = reseat(reseat(resolve(found), "worker1", "spare"), "worker1", "other")
    Orders(tmp_path).give(TimedEvent(at_s=1.0, kind="cut", target="lan", nodes=("spare", "other")))
    (event,) = Orders(tmp_path, plan.renamed).new()
    assert event.nodes == ("other", "worker1")


@pytest.mark.parametrize(
    ("first", "said", "lost"),
    [
        ("w0", "w0 lost w1, w1 fails", "w1"),
        ("w2", "w2 lost w1, w1 lost w0, w0 fails", "w0"),
        ("w1", "w1 fails, w0 lost w1", "w1"),
        ("w0", "w0 silent w1, w2 silent w1", "w1"),
        ("w0", "w0 lost w1, w1 silent w0 w2", "w1"),
        ("w2", "w2 lost w1, w1 silent w0", "w0"),
        ("w1", "w1 silent w2", "w2"),
        ("w0", "w0 lost w1, w1 lost w0", "w1"),
    ],
)
def test_whose_device_is_gone_is_told_from_who_misses_whom(
    first: str, said: str, lost: str, tmp_path: Path
) -> None:
    """Three in a row: killed, frozen, or cut off in the middle or at an end."""
    run, row = new_run_dir(tmp_path, "row"), {"w0": ("w1",), "w1": ("w0", "w2"), "w2": ("w1",)}
    for sentence in said.split(", "):
        node, what, *peers = sentence.split()
        journal = Journal(run.events(node))
        for peer in peers[1:]:
            journal.event("fault", peer=peer, what=what)
        journal.event("end", status="failed", **({what: peers[0]} if peers else {}))
        journal.close()
    seats = [
        Seat(name=name, role="worker", device="host", essential=True, peers=peers)
        for name, peers in row.items()
    ]
    witness = Witness(run, seats)
    witness.look()
    assert witness.missed(first, list(row)) == lost


@pytest.mark.processes
@pytest.mark.parametrize("blow", ["killed", "frozen", "cut"])
def test_the_weights_are_those_of_an_undisturbed_run(
    blow: str, start: Callable[[Any], Run], tmp_path: Path
) -> None:
    found = spec(device="pi4")
    expected = finish(found, tmp_path / "undisturbed")
    run = start(found)
    run.reach(3, "worker0")
    pids = [run.pid(f"worker{n}") for n in range(3)]
    if blow == "cut":
        ask(RunDir(run.out), {"cut": "lan", "nodes": ["worker1"]})
    else:
        os.kill(pids[1], signal.SIGKILL if blow == "killed" else signal.SIGSTOP)
    code, summary, err = run.end(BOUND_S)
    assert code == 0, err
    assert "spare takes the place of worker1; all nodes are started again" in err
    assert_same(torch.load(run.out / "model.pt", weights_only=True), expected)
    (restart,) = summary["restarts"]
    assert (restart["place"], restart["spare"]) == ("worker1", "spare")
    assert restart["lost_s"] > 0
    assert [event["device"] for event in events(run.out, "worker1", "start")] == ["host", "pi4"]
    assert "spare took the place of worker1" in (run.out / "report.html").read_text("utf-8")
    assert gone(pids)
