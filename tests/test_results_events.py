from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from synthetic_run import START_S, Writer

from edgenet.results.events import Event, Tail, natural, node_events, node_names, parse, run_events


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path)


def names(events: Iterable[Event]) -> list[str]:
    return [event.name for event in events]


def test_reads_events_in_the_order_written(writer: Writer) -> None:
    writer.event("a", "start", 0.0, role="server")
    writer.event("a", "round", 1.0, 1, loss=0.5)
    first, second = node_events(writer.run, "a")
    assert (first.node, first.name, first.t, first.round) == ("a", "start", START_S, 0)
    assert first.text("role") == "server"
    assert second.round == 1
    assert second.number("loss") == 0.5


def test_a_torn_last_line_is_passed_over(writer: Writer) -> None:
    writer.event("a", "start", 0.0)
    writer.raw("a", '{"e":"round","t":17000')
    assert names(node_events(writer.run, "a")) == ["start"]


def test_a_node_that_was_started_again_behind_a_torn_line(writer: Writer) -> None:
    writer.raw("a", '{"e":"span","t":1.0,"r":2,"d"')
    writer.event("a", "start", 5.0, role="server")
    (event,) = node_events(writer.run, "a")
    assert event.name == "start"
    assert event.t == START_S + 5


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"[1, 2]\n",
        b"null\n",
        b"\xff\xfe\n",
        b'{"e":"round"}\n',
        b'{"e":"round","t":"now"}\n',
        b'{"e":"round","t":NaN}\n',
        b'{"e":"round","t":1.0,"r":"two"}\n',
    ],
)
def test_a_line_that_is_no_event_gives_none(line: bytes) -> None:
    assert parse("a", line) is None


def test_fields_of_another_type_than_expected_are_missing() -> None:
    fields = {"e": "x", "t": 1, "s": "text", "b": True, "n": -3, "nan": math.nan, "list": ["a", 1]}
    event = parse("a", json.dumps(fields).encode())
    assert event.number("s") is None
    assert event.number("b") is None
    assert event.number("absent") is None
    assert event.text("absent", "nobody") == "nobody"
    assert [event.count(key) for key in ("s", "n", "nan", "absent")] == [0, 0, 0, 0]
    assert event.names("list") == ("a", "1")
    assert event.names("s") == ()
    assert math.isnan(event.number("nan"))


def test_nodes_are_ordered_by_the_number_in_their_names(writer: Writer) -> None:
    for name in ("cam10", "cam2", "edge", "cam1"):
        writer.event(name, "start", 0.0)
    assert node_names(writer.run) == ["cam1", "cam2", "cam10", "edge"]
    assert natural("7") < natural("a")


def test_a_run_without_nodes_has_no_events(tmp_path: Path, writer: Writer) -> None:
    writer.run.node("silent").mkdir()
    assert list(run_events(writer.run)) == []


def test_tail_returns_each_event_once(writer: Writer) -> None:
    tail = Tail(writer.run)
    assert tail.new() == []
    writer.event("a", "start", 0.0)
    writer.event("b", "start", 1.0)
    assert [event.node for event in tail.new()] == ["a", "b"]
    writer.event("b", "end", 2.0)
    assert [(event.node, event.name) for event in tail.new()] == [("b", "end")]
    assert tail.new() == []


def test_tail_merges_nodes_by_time(writer: Writer) -> None:
    writer.event("a", "late", 2.0)
    writer.event("b", "early", 1.0)
    assert names(Tail(writer.run).new()) == ["early", "late"]


def test_tail_waits_for_the_rest_of_a_line(writer: Writer) -> None:
    tail = Tail(writer.run)
    writer.raw("a", f'{{"e":"start","t":{START_S},')
    assert tail.new() == []
    writer.raw("a", '"r":0}\n')
    assert names(tail.new()) == ["start"]


def test_tail_opens_only_files_that_grew(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        writer.event(name, "start", 0.0)
    tail = Tail(writer.run)
    tail.new()
    opened = []
    grown = Tail._grown

    def spy(self: Tail, name: str, path: Path) -> Iterator[Event]:
        opened.append(name)
        return grown(self, name, path)

    monkeypatch.setattr(Tail, "_grown", spy)
    writer.event("b", "end", 1.0)
    assert names(tail.new()) == ["end"]
    assert opened == ["b"]
