"""summary.json: a run in one object.

`bytes` is the scheme's own traffic; `bytes.evaluation` and `bytes.probe` are what only the testbed
needed, and `bytes.kernel` what crossed emulated interfaces, headers and all. A node's
`compute_s` is the emulated device's: `slowdown_s` of it were slept. `energy_kwh` and `carbon_g` sum
up the nodes whose power is known; `energy_unknown` names the others. A node's `energy` tells its
joules by phase, and in `source` whether they were 'measured' (by which sensor) or 'modelled'; the
phases are always modelled, and of a measured node scaled to what was measured. `outside_j` is the
part of them that the node idled through while the scheme did not train: before the first round,
after the last, and in the reporter's evaluation.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from edgenet.devices import PROFILES, Device, as_device
from edgenet.devices.radio import RADIOS
from edgenet.errors import BAD_INPUT, DONE, INTERRUPTED, NODE_FAILED
from edgenet.meters import energy
from edgenet.results.comings import SPEECHLESS, restarts, status
from edgenet.results.events import Event
from edgenet.results.kernel import reconciled
from edgenet.results.rundir import SCHEMA_VERSION
from edgenet.results.tally import NodeTally, Tally

_PHASES = ("compute", "send", "wait", "other")

_OUTCOMES = {
    DONE: "done",
    BAD_INPUT: "bad input",
    NODE_FAILED: "failed",
    INTERRUPTED: "interrupted",
}


def summarize(run: Mapping[str, Any], tally: Tally) -> dict[str, Any]:
    """The object of summary.json. A figure that nobody reported is None.

    Args:
        run: run.json (its keys: edgenet.results.rundir).
        tally: of all events.
    """
    rounds = tally.rounds
    code = _exit_code(run, tally)
    nodes = {
        name: _node(node, _status(node, tally, run), _energy(node, tally, run))
        for name, node in tally.nodes.items()
    }
    intensity = float(run.get("carbon_kg_per_kwh", energy.CARBON_KG_PER_KWH))
    known_j = [node["energy_j"] for node in nodes.values() if node["energy_j"] is not None]
    joules = sum(known_j)
    return {
        "schema_version": SCHEMA_VERSION,
        "outcome": outcome(code),
        "exit_code": code,
        **{key: run.get(key) for key in ("scheme", "topology", "seed")},
        "rounds": len(rounds),
        "rounds_asked": run.get("rounds"),
        "wall_s": round(tally.wall_s, 6),
        "lost_s": round(tally.lost_s, 6),
        "attempts": len(run.get("attempts") or ()) or 1,
        "round_s": statistics.median(each.wall_s for each in rounds) if rounds else None,
        "accuracy": _last(tally, "accuracy"),
        "loss": _last(tally, "loss"),
        "test_loss": _last(tally, "test_loss"),
        "parameters": run.get("parameters"),
        "shaping": run.get("shaping"),
        "bytes": _bytes(run, tally),
        "nodes": nodes,
        "energy_kwh": energy.kwh(joules) if known_j else None,
        "energy_phases_kwh": _phases_kwh(nodes.values()) if known_j else None,
        "carbon_g": energy.carbon_g(joules, intensity) if known_j else None,
        "carbon_kg_per_kwh": intensity,
        "energy_unknown": [name for name, node in nodes.items() if node["energy_j"] is None],
        "faults": [_fault(event, tally.since(event.t)) for event in tally.faults],
        "changes": [_change(event, tally.since(event.t)) for event in tally.changes],
        "restarts": restarts(tally),
    }


def outcome(code: int) -> str:
    """How a command that ended with this exit code ended, in a word or two."""
    return _OUTCOMES.get(code, f"exit code {code}")


def _bytes(run: Mapping[str, Any], tally: Tally) -> dict[str, Any]:
    """What was counted; the kernel counts one attempt only."""
    once = len(run.get("attempts") or ()) < 2
    kernel = reconciled(run, tally.ledger.flows()) if once else None
    return {**tally.ledger.as_dict(), "lost": tally.ledger.lost, "kernel": kernel}


def _status(node: NodeTally, tally: Tally, run: Mapping[str, Any]) -> str:
    about, ended = _of(run, "nodes", node.name), _of(run, "ended", node.name)
    code = ended.get("code")
    return status(
        node, tally, later=bool(about.get("later")), code=code if isinstance(code, int) else None
    )


def _of(run: Mapping[str, Any], key: str, node: str) -> Mapping[str, Any]:
    """What run.json says of a node under a key; empty if that is nothing."""
    known = run.get(key)
    own = known.get(node) if isinstance(known, Mapping) else None
    return own if isinstance(own, Mapping) else {}


def _node(node: NodeTally, status: str, joules: dict[str, Any] | None) -> dict[str, Any]:
    error = node.error or (SPEECHLESS if status == "failed" and node.status is None else "")
    return {
        "role": node.role,
        "device": node.device,
        "status": status,
        **({"error": error} if error else {}),
        "compute_s": node.spans_s.get("compute", 0.0) + node.slowdown_s,
        "slowdown_s": node.slowdown_s,
        "emulated_s": node.emulated_s,
        "behind_s": node.behind_s,
        **{f"{kind}_s": node.spans_s.get(kind, 0.0) for kind in ("send", "wait", "evaluate")},
        "cpu_s": node.cpu_s,
        "peak_rss_bytes": node.peak("peak_rss_bytes"),
        "peak_pss_bytes": node.peak("pss_bytes"),
        "peak_weight_bytes": node.peak("peak_weight_bytes"),
        "peak_stash_bytes": node.peak("peak_stash_bytes"),
        "energy_j": None if joules is None else joules["total_j"],
        "energy": joules,
    }


def _device(name: str, run: Mapping[str, Any]) -> Device | None:
    """A profile by its name: one that comes along, or one of the run's own."""
    own = run.get("devices")
    if isinstance(own, Mapping) and name in own:
        return as_device(own[name])
    return PROFILES.get(name)


def _energy(node: NodeTally, tally: Tally, run: Mapping[str, Any]) -> dict[str, Any] | None:
    """A node's joules by phase, and where they come from; None where nobody knows. Evaluation is
    the testbed's, so its CPU time is not the device's."""
    device, abouts = _device(node.device, run), run.get("nodes")
    about = abouts.get(node.name) if isinstance(abouts, Mapping) else None
    measured = node.sensor != "" and node.slowdown == 1
    if node.cpu_s is None or node.start_s is None or device is None:
        return None
    sent, received = tally.ledger.moved(node.name)
    did = energy.Activity(
        wall_s=sum(end - start for start, end in node.lives),
        cpu_s=max(0.0, node.cpu_s - node.spans_s.get("evaluate", 0.0)),
        slowdown=node.slowdown,
        compute_s=node.spans_s.get("compute", 0.0) + node.slowdown_s,
        send_s=node.spans_s.get("send", 0.0),
        wait_s=node.spans_s.get("wait", 0.0),
        sent_bytes=sent,
        received_bytes=received,
    )
    radio = about.get("radio") if isinstance(about, Mapping) else None
    by_phase = energy.phases(device, did, RADIOS.get(str(radio)))
    if by_phase is None and not measured:
        return None
    found = {} if by_phase is None else vars(by_phase)
    total_j = node.measured_j if measured or by_phase is None else by_phase.total_j
    scale = total_j / by_phase.total_j if by_phase is not None and by_phase.total_j else 1.0
    outside_s = max(0.0, did.wall_s - sum(tally.train_s(each) for each in tally.rounds))
    return {
        "total_j": total_j,
        **{f"{phase}_j": found[f"{phase}_j"] * scale if found else None for phase in _PHASES},
        "outside_j": (device.idle_w or 0.0) * outside_s * scale if found else None,
        "radio": radio,
        "source": f"measured ({node.sensor})" if measured else "modelled",
    }


def _phases_kwh(nodes: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """kWh of all nodes whose phases are known, by phase."""
    known = [node["energy"] for node in nodes if node["energy"] is not None]
    return {
        phase: energy.kwh(sum(each[f"{phase}_j"] or 0.0 for each in known)) for phase in _PHASES
    }


def _exit_code(run: Mapping[str, Any], tally: Tally) -> int:
    """The command's own where it is known; else what it must have been, judged by the nodes."""
    known = run.get("exit_code")
    if isinstance(known, int):
        return known
    states = {node.status for node in tally.nodes.values()}
    if "interrupted" in states:
        return INTERRUPTED
    reporter = tally.reporter
    deciding = reporter.status if reporter is not None else "done" if states == {"done"} else None
    return DONE if deciding == "done" else NODE_FAILED


def _last(tally: Tally, key: str) -> float | None:
    """The latest value of a round's figure; None if no round has it."""
    for each in reversed(tally.rounds):
        value = each.fields.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def _fault(event: Event, t_s: float) -> dict[str, Any]:
    return {
        "t_s": round(t_s, 6),
        "round": event.round,
        "node": event.node,
        "peer": event.text("peer"),
        "what": event.text("what"),
        "why": event.text("why"),
    }


def _change(event: Event, t_s: float) -> dict[str, Any]:
    """Something that the topology had happen to the network."""
    return {
        "t_s": round(t_s, 6),
        "asked_s": event.number("asked_s"),
        "asked_round": event.count("asked_round") or None,
        "late_s": event.number("late_s"),
        "what": event.text("what"),
        "target": event.text("target"),
        "nodes": list(event.names("nodes")),
        "says": event.text("says"),
        "by": event.text("by", "topology"),
    }
