from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import Writer, fedavg

from edgenet.results.write import write_all

Record = dict[str, Any]


def trace_of(writer: Writer) -> list[Record]:
    write_all(writer.run)
    trace = json.loads(writer.run.trace.read_text())
    return trace["traceEvents"]


def of(records: list[Record], phase: str, **wanted: object) -> list[Record]:
    return [
        record
        for record in records
        if record["ph"] == phase and all(record[key] == value for key, value in wanted.items())
    ]


def names(records: list[Record], kind: str) -> dict[tuple[int, int], str]:
    found = of(records, "M", name=kind)
    return {(record["pid"], record["tid"]): record["args"]["name"] for record in found}


def test_every_record_has_what_viewers_need(tmp_path: Path) -> None:
    records = trace_of(fedavg(tmp_path, lost="learner1"))
    assert {record["ph"] for record in records} == {"M", "X", "i", "C"}
    for record in records:
        assert isinstance(record["name"], str)
        assert all(type(record[key]) is int for key in ("pid", "tid", "ts"))
        assert isinstance(record["args"], dict)
    assert all(type(span["dur"]) is int and span["dur"] >= 0 for span in of(records, "X"))
    assert all(instant["s"] in ("g", "p", "t") for instant in of(records, "i"))


def test_each_node_is_a_process_with_its_threads(tmp_path: Path) -> None:
    records = trace_of(fedavg(tmp_path))
    processes = names(records, "process_name")
    assert list(processes.values()) == [
        "server (server, host)",
        "learner0 (learner, pi4)",
        "learner1 (learner, pi4)",
    ]
    threads = names(records, "thread_name")
    rows = {pid: {t for (p, _), t in threads.items() if p == pid} for pid, _ in processes}
    assert rows[1] == {"marks", "send", "wait", "evaluate"}
    assert rows[2] == {"marks", "compute", "send"}
    used = {(record["pid"], record["tid"]) for record in of(records, "X")}
    assert used <= set(threads)


def test_times_are_microseconds_since_the_start(tmp_path: Path) -> None:
    records = trace_of(fedavg(tmp_path))
    forward, slowdown = [s for s in of(records, "X", pid=2, cat="compute") + of(
        records, "X", pid=2, cat="idle") if s["args"]["round"] == 1]  # fmt: skip
    assert (forward["name"], forward["ts"], forward["dur"]) == ("forward", 1_100_000, 300_000)
    assert (slowdown["name"], slowdown["ts"]) == ("slowdown", 1_400_000)
    assert forward["tid"] == slowdown["tid"]  # the device computes for both


def test_rounds_and_faults_are_instants(tmp_path: Path) -> None:
    records = trace_of(fedavg(tmp_path, lost="learner1"))
    assert [i["ts"] for i in of(records, "i", name="round 2")] == [3_000_000]
    (fault,) = of(records, "i", name="learner1 lost")
    assert fault["args"] == {"round": 2, "why": "closed the connection"}


def test_bytes_are_running_sums_without_evaluation(tmp_path: Path) -> None:
    records = trace_of(fedavg(tmp_path))
    sent = [counter["args"]["payload"] for counter in of(records, "C", name="bytes out", pid=2)]
    assert sent == [1000, 2000, 3000]


def crossing(spans: list[Record]) -> list[tuple[Record, Record]]:
    """Pairs on one row that overlap without one lying within the other."""
    found = []
    for i, a in enumerate(spans):
        for b in spans[i + 1 :]:
            a_end, b_end = a["ts"] + a["dur"], b["ts"] + b["dur"]
            apart = a_end <= b["ts"] or b_end <= a["ts"]
            inside = (a["ts"] <= b["ts"] and b_end <= a_end) or (
                b["ts"] <= a["ts"] and a_end <= b_end
            )
            if not apart and not inside and a["tid"] == b["tid"]:
                found.append((a, b))
    return found


@pytest.mark.parametrize(
    ("spans", "rows"),
    [
        ([(0.0, 1.0), (1.0, 1.0)], 1),
        ([(0.0, 1.0), (0.5, 1.0)], 2),
        ([(0.0, 1.0), (0.2, 0.3)], 1),
        ([(0.2, 0.3), (0.0, 1.0)], 1),
        ([(0.0, 2.0), (0.5, 2.0), (1.0, 2.0)], 3),
        ([(0.0, 2.0), (0.5, 1.0), (1.2, 2.0), (1.6, 0.1)], 2),
    ],
)
def test_spans_that_overlap_get_rows_of_their_own(
    tmp_path: Path, spans: list[tuple[float, float]], rows: int
) -> None:
    writer = Writer(tmp_path)
    for t, d in spans:
        writer.span("a", "send", t, d, 1)
    drawn = of(trace_of(writer), "X")
    assert len(drawn) == len(spans)
    assert len({span["tid"] for span in drawn}) == rows
    assert crossing(drawn) == []
