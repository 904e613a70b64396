"""The kernel's counters against the links' own: which flow leaves by which interface."""

from __future__ import annotations

from typing import Any

from edgenet.results.kernel import reconciled
from edgenet.results.ledger import Flow, Volume

# a and b are members of a cell around base: what a sends to b, base sends once more.
WAYS = {
    "a->base": [["a", "cell"]],
    "a->b": [["a", "cell"], ["base", "cell"]],
    "base->c": [["base", "wire"]],
}


def interface(tx_bytes: int, tx_packets: int) -> dict[str, int]:
    return {"tx_bytes": tx_bytes, "tx_packets": tx_packets, "rx_bytes": 0, "rx_packets": 0}


RUN: dict[str, Any] = {
    "ways": WAYS,
    "interfaces": {
        "a": {"cell": interface(1600, 2)},
        "base": {"cell": interface(500, 1), "wire": interface(90, 1)},
    },
}
FLOWS = [
    (Flow("a", "base", "weights"), 1, Volume(payload=900, overhead=100)),
    (Flow("a", "b", "probe"), 0, Volume(payload=400, overhead=0)),
    (Flow("base", "c", "control"), 1, Volume(payload=10, overhead=20)),
    (Flow("c", "d", "control"), 1, Volume(payload=7)),  # between threads, say: no interface
]


def test_what_is_forwarded_counts_at_every_interface() -> None:
    found = reconciled(RUN, FLOWS)
    assert found is not None
    assert found["per_interface"] == {
        "a: cell": {"kernel": 1600, "counted": 1400, "packets": 2, "headers": 200},
        "base: cell": {"kernel": 500, "counted": 400, "packets": 1, "headers": 100},
        "base: wire": {"kernel": 90, "counted": 30, "packets": 1, "headers": 60},
    }
    assert found["per_link"]["cell"]["headers"] == 300
    assert (found["kernel"], found["counted"], found["headers"]) == (2190, 1830, 360)


def test_without_interfaces_of_its_own_a_run_has_no_such_figure() -> None:
    assert reconciled({}, FLOWS) is None
    assert reconciled({"interfaces": {}}, FLOWS) is None
