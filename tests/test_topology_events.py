"""The `events:` section, fading and traces in a topology file: values, messages, and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgenet.channels import check_events
from edgenet.errors import TopologyError
from edgenet.topology import Topology, dump, load, loads
from edgenet.topology.events import sentence
from edgenet.topology.spec import TimedEvent, Trace
from edgenet.topology.traces import read_trace

HEAD = """\
nodes: {edge: {at: [0, 0]}, cam: {count: 3, at: [100, 0]}, far: {}}
links:
  cell: {lte: {cap: 5.5}, base: edge, members: cam}
  wire: {rate: 10 Mbit, between: [edge, far]}
  free: {between: [cam0, far]}
train: {scheme: fedavg}
"""


def events(*lines: str) -> Topology:
    listed = "".join(f"  - {line}\n" for line in lines)
    return loads(f"{HEAD}events:\n{listed}", "t.yaml")


def test_events_become_values() -> None:
    found = events(
        "{at: 20 s, degrade: cell, rate: 2 Mbit, delay: 80 ms, jitter: 1 ms, loss: 1 %}",
        "{at: 1 min, degrade: wire, factor: 0.25}",
        "{at: 5 s, cut: cell, nodes: [cam1, cam2]}",
        "{at: 7 s, restore: cell}",
        "{at: 9 s, move: cam0, to: [1 km, -20]}",
    ).events
    assert found == (
        TimedEvent(at_s=20.0, kind="degrade", target="cell", settings={
            "rate_bps": 2e6, "delay_s": 0.08, "jitter_s": 0.001, "loss": 0.01}),
        TimedEvent(at_s=60.0, kind="degrade", target="wire", settings={"factor": 0.25}),
        TimedEvent(at_s=5.0, kind="cut", target="cell", nodes=("cam1", "cam2")),
        TimedEvent(at_s=7.0, kind="restore", target="cell"),
        TimedEvent(at_s=9.0, kind="move", target="cam0", settings={"to": (1000.0, -20.0)}),
    )  # fmt: skip
    assert [sentence(event) for event in found] == [
        "cell is degraded to 2 Mbit/s, delay 80 ms, jitter 1 ms, loss 1 %",
        "wire is degraded to 0.25 of its rate",
        "cell is cut (cam1, cam2)",
        "cell is restored",
        "cam0 moves to 1000, -20 m",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "{at: 1 s}",
            "event 2 does not say what happens; kinds are degrade, cut, restore, move, slow, free",
        ),
        ("{at: 1 s, cutt: wire}", "event 2 does not say what happens; did you mean 'cut'?"),
        ("{cut: wire}", "event 2 does not say when; add 'at: 30 s'"),
        ("{at: 1, cut: wire}", "event 2 has a bad at: 1 is no time"),
        ("{at: -1 s, cut: wire}", "event 2 has a bad at: "),
        ("{at: 1 s, cut: wires}", "event 2 names unknown link 'wires'; did you mean 'wire'?"),
        ("{at: 1 s, cut: wire, restore: wire}", "event 2 is both cut and restore; write two"),
        ("{at: 1 s, cut: wire, rate: 1 Mbit}", "event 2 has unknown key 'rate'"),
        ("{at: 1 s, cut: wire, nodes: cam1}", "node 'cam1', which is not on link 'wire'"),
        ("{at: 1 s, degrade: wire}", "event 2 degrades 'wire' by nothing; give rate, delay"),
        ("{at: 1 s, degrade: wire, rate: 1 Mbit, factor: 2}", "both a rate and a factor of it"),
        ("{at: 1 s, degrade: wire, factor: 0}", "event 2 has factor 0; it must lie between"),
        ("{at: 1 s, move: far, to: [1, 2]}", "moves node 'far', which has no position"),
        ("{at: 1 s, move: cam, to: [1, 2]}", "needs one node as its move, but names 3"),
        ("{at: 1 s, move: cam0}", "event 2 needs the new position, like 'to: [100, 200]'"),
        ("[1, 2]", "event 2 is a list; it must be a mapping"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_line(line: str, message: str) -> None:
    with pytest.raises(TopologyError) as caught:
        events("{at: 1 s, cut: wire}", line)
    assert str(caught.value).startswith("t.yaml:9: ")
    assert message in str(caught.value)


def test_a_move_needs_a_link_that_feels_it() -> None:
    text = "nodes: {a: {at: [0, 0]}, b: {}}\nlinks: {w: {rate: 1 Mbit, between: [a, b]}}\n"
    with pytest.raises(TopologyError, match=r"t.yaml:4: event 1 .*on no lte link"):
        loads(text + "train: {scheme: fedavg}\nevents: [{at: 1 s, move: a, to: [1, 2]}]", "t.yaml")


def test_events_must_be_a_list() -> None:
    with pytest.raises(TopologyError, match=r"t.yaml:7: events is a mapping; it must be a list"):
        loads(HEAD + "events: {at: 1 s, cut: wire}", "t.yaml")


def test_a_factor_of_no_rate_is_found_before_the_run() -> None:
    topology = events("{at: 1 s, cut: wire}", "{at: 2 s, degrade: free, factor: 0.5}")
    with pytest.raises(TopologyError, match=r"t.yaml:9: event 2 .* 'free', which is unlimited"):
        check_events(topology)


def test_what_is_dumped_reads_back_the_same(tmp_path: Path) -> None:
    (tmp_path / "up.trace").write_text("".join(f"{time}\n" for time in range(0, 1001, 7)))
    (tmp_path / "t.yaml").write_text(
        HEAD.replace("lte: {cap: 5.5}", "lte: {fading: {interval: 250 ms}}").replace(
            "rate: 10 Mbit", "trace: {up: up.trace}, delay: 20 ms"
        )
        + "events:\n  - {at: 1.5 s, degrade: wire, factor: 0.5, loss: 0.1, nodes: far}\n"
        "  - {at: 2 s, cut: cell}\n  - {at: 3 s, move: cam1, to: [5, 6.5]}\n"
    )
    topology = load(tmp_path / "t.yaml")
    assert topology.links[0].options["fading_s"] == 0.25
    assert loads(dump(topology), "elsewhere.yaml") == topology


def test_set_may_remove_the_events() -> None:
    text = HEAD + "events: [{at: 1 s, cut: wire}]"
    assert loads(text, "t.yaml", ["events=null"]).events == ()


def trace(folder: Path, text: str) -> Path:
    path = folder / "x.trace"
    path.write_text(text)
    return path


def test_a_trace_is_counted_by_intervals(tmp_path: Path) -> None:
    found = read_trace(trace(tmp_path, "0\n50\n99\n100\n100\n250\n399\n400\n"), 0.1)
    assert found == Trace(period_s=0.4, packets=(3, 2, 1, 2))
    assert found.interval_s == pytest.approx(0.1)


def test_the_intervals_divide_the_period(tmp_path: Path) -> None:
    found = read_trace(trace(tmp_path, "".join(f"{time}\n" for time in range(1, 252))), 0.1)
    assert (found.period_s, len(found.packets)) == (0.251, 3)
    assert sum(found.packets) == 251


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": empty; a trace has one millisecond a line"),
        ("0\n0\n", ": ends at 0 ms; a trace needs a last line above 0"),
        ("1\n2.5\n", ":2: '2.5' is not a whole number of milliseconds"),
        ("1\n-2\n", ":2: '-2' is not a whole number"),
        ("1\n\n3\n", ":2: '' is not a whole number"),
        ("1\n5\n3\n", ":3: 3 ms comes after 5 ms; times never go back"),
        ("1" * 10_000, "is not a whole number"),
        ("1\n9000000000\n", "more than 20000 intervals of 0.1 s"),
        ("1\n60000\n", "delivers 0.4 kbit/s on average, which is less than the 64 kbit/s"),
    ],
)
def test_a_bad_trace_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = trace(tmp_path, text)
    with pytest.raises(TopologyError) as caught:
        read_trace(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("trace: {up: no.trace}", "t.yaml:4: link 'wire': trace cannot be read: no.trace: no such"),
        ("trace: {upp: no.trace}", "unknown key 'upp'; did you mean 'up'?"),
        ("trace: {interval: 100 ms}", "names no file"),
        ("trace: {up: x, interval: 1 ms}", "not between 20 ms and 10 s"),
        ("trace: {up: {period: 1 s, packets: 10 x}}", "needs a period above 0 and packets"),
        ("rate: 5 Mbit, trace: {up: {period: 1 s, packets: 10 20}}", "has a rate, and a trace"),
        ("lte: {}, trace: {up: x}", "is both lte and trace; choose one"),
    ],
)
def test_a_link_s_trace_is_checked(link: str, message: str) -> None:
    with pytest.raises(TopologyError) as caught:
        loads(HEAD.replace("rate: 10 Mbit", link), "t.yaml")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("fading", "message"),
    [
        ("fading: 1 ms", "lte has an interval that is not between 20 ms and 1 h"),
        ("fading: {}", "needs an interval, like fading: {interval: 100 ms}"),
        ("fading: {every: 1 s}", "has unknown key 'every'"),
        ("fading: 1 s}, rate: 5 Mbit, up: {delay: 1 ms", "has a rate, and fading"),
    ],
)
def test_fading_is_checked(fading: str, message: str) -> None:
    with pytest.raises(TopologyError) as caught:
        loads(HEAD.replace("cap: 5.5", fading), "t.yaml")
    assert message in str(caught.value)
