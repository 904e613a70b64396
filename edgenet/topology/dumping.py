"""A Topology back to YAML, everything resolved: what a run leaves behind as topology.yaml."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from edgenet.devices import Device
from edgenet.topology.document import scalar
from edgenet.topology.links import CHANNEL, LTE
from edgenet.topology.spec import LinkSpec, Node, Partition, Probe, TimedEvent, Topology, Train
from edgenet.units import BYTES, FREQUENCY, RATE, TIME, WATTS, Scale, exact

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _./%+-]*(?<! )")
"""Text that YAML reads back as itself without quotes (unless it looks like a number or null)."""

_SPECIAL = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")
"""Characters that JSON writes as they are and YAML does not read."""

_SCALES: dict[str, Scale] = {
    "rate_bps": RATE,
    "delay_s": TIME,
    "jitter_s": TIME,
    "queue_bytes": BYTES,
    "bandwidth_hz": FREQUENCY,
    "up_power_w": WATTS,
    "down_power_w": WATTS,
    "interference_w": WATTS,
    "fading_s": TIME,
}
"""Unit of each link option; one that is missing here is written as a plain number."""


def dump(topology: Topology) -> str:
    """YAML text with `loads(dump(t)) == t`; positions are written out, units are exact."""
    document: dict[str, Any] = {
        "name": topology.name,
        "devices": {name: _device(each) for name, each in topology.devices.items()},
        "nodes": dict(_groups(topology.nodes)),
        "links": {link.name: _link(link) for link in topology.links},
        "train": _train(topology.train),
        "faults": _faults(topology),
        "events": [_event(event) for event in topology.events],
        "probe": _probe(topology.probe),
        "place": {role: list(names) for role, names in topology.place.items()},
        "shaping": topology.shaping,
        "limits": topology.limits,
        "seed": topology.seed,
        "carbon": topology.carbon_kg_per_kwh,
    }
    lines = ["# Resolved by edgenet: every default and every position is written out."]
    for key, value in document.items():
        if isinstance(value, dict):
            lines += [f"{key}:"] if value else []
            lines += [f"  {_text(name)}: {_flow(item)}" for name, item in value.items()]
        elif isinstance(value, list):
            lines += [f"{key}:"] if value else []
            lines += [f"  - {_flow(item)}" for item in value]
        else:
            lines.append(f"{key}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _device(device: Device) -> dict[str, Any]:
    """A profile's fields but its name, and those that are not known."""
    fields = {**asdict(device), "derived": list(device.derived)}
    return {key: value for key, value in fields.items() if key != "name" and value is not None}


def _groups(nodes: Sequence[Node]) -> Iterator[tuple[str, dict[str, Any]]]:
    members: dict[str, list[Node]] = {}
    for node in nodes:
        members.setdefault(node.group, []).append(node)
    for group, found in members.items():
        devices = [node.device for node in found]
        single = len(found) == 1 and found[0].name == group
        entry: dict[str, Any] = {"device": devices[0] if len(set(devices)) == 1 else devices}
        if not single:
            entry["count"] = len(found)
        places = [list(node.at) for node in found if node.at is not None]
        if places:
            entry["at"] = places[0] if single else places
        yield group, entry


def _link(link: LinkSpec) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    options = dict(link.options)
    if link.profile == "ethernet":
        entry["ethernet"] = exact(options.pop("value"), RATE)
    elif link.profile == "wifi":
        entry["wifi"] = options.pop("value")
    elif link.profile == "lte":
        names = {field: key for key, (field, _) in LTE.items()}
        entry["lte"] = {
            names[field]: _option(field, options.pop(field)) for field in names if field in options
        }
    elif link.profile == "trace":
        entry["trace"] = {
            way: {
                "period": exact(trace.period_s, TIME),
                "packets": " ".join(map(str, trace.packets)),
            }
            for way, trace in options["trace"].items()
        }
    entry |= _channel(options)
    entry |= {way: _channel(options[way]) for way in ("up", "down") if way in options}
    if _is_wire(link):
        entry["between"] = list(link.ends)
    else:
        entry |= {"base": link.base} if link.base else {}
        entry["members"] = list(link.ends)
    return entry | {"shared": link.shared}


def _event(event: TimedEvent) -> dict[str, Any]:
    at = exact(event.at_s, TIME) if event.at_round is None else f"round {event.at_round}"
    entry: dict[str, Any] = {"at": at, event.kind: event.target}
    entry |= {"nodes": list(event.nodes)} if event.nodes else {}
    entry |= _channel(event.settings)
    for key in event.settings:
        if key in ("factor", "to"):
            value = event.settings[key]
            entry[key] = list(value) if isinstance(value, tuple) else value
    return entry


def _is_wire(link: LinkSpec) -> bool:
    """A switch with two members is the same value as a wire; both are written as a wire."""
    return link.base is None and len(link.ends) == 2


def _channel(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _option(field, options[field])
        for key, (field, _) in CHANNEL.items()
        if field in options
    }


def _option(field: str, value: Any) -> Any:
    return exact(value, _SCALES[field]) if field in _SCALES else value


def _train(train: Train) -> dict[str, Any]:
    data, optimizer = train.data, train.optimizer
    entry: dict[str, Any] = {
        "scheme": train.scheme,
        "model": train.model,
        "data": {"name": data.name, "train": data.train, "test": data.test,
                 "views": list(data.views)},
        "partition": _partition(train.partition),
        "rounds": train.rounds,
        "local_epochs": train.local_epochs,
        "batch": train.batch,
        "lr": train.lr,
        "optimizer": {"name": optimizer.name, "momentum": optimizer.momentum,
                      "weight_decay": optimizer.weight_decay, "betas": list(optimizer.betas)},
        "cut": train.cut,
        "evaluate": train.evaluate,
    }  # fmt: skip
    entry["data"] = {key: value for key, value in entry["data"].items() if value not in (None, [])}
    return {key: value for key, value in entry.items() if value is not None} | dict(train.options)


def _partition(partition: Partition) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "kind": partition.kind,
        "alpha": partition.alpha,
        "shards_per_node": partition.shards_per_node,
    }
    return entry | ({"sizes": list(partition.sizes)} if partition.sizes else {})


def _faults(topology: Topology) -> dict[str, Any]:
    faults = topology.faults
    quorum = faults.quorum
    entry: dict[str, Any] = {
        "heartbeat": exact(faults.heartbeat_s, TIME),
        "silence": exact(faults.silence_s, TIME),
        "quorum": int(quorum) if quorum > 1 else quorum,
        "join": exact(faults.join_s, TIME),
    }
    if faults.deadline_s is not None:
        entry["deadline"] = exact(faults.deadline_s, TIME)
    if faults.checkpoint is not None:
        entry["checkpoint"] = faults.checkpoint
    if faults.restart:
        entry["restart"] = faults.restart
    if faults.spares:
        entry["spares"] = list(faults.spares)
    return entry


def _probe(probe: Probe) -> dict[str, Any]:
    entry: dict[str, Any] = {} if probe.run is None else {"run": probe.run}
    return entry | {"tolerance": probe.tolerance, "budget": exact(probe.budget_s, TIME)}


def _flow(value: Any) -> str:
    """A value in YAML's flow style, on one line."""
    writers: dict[type, Callable[[Any], str]] = {
        bool: lambda flag: "true" if flag else "false",
        str: _text,
        dict: lambda items: (
            "{" + ", ".join(f"{_text(k)}: {_flow(v)}" for k, v in items.items()) + "}"
        ),
        list: lambda items: "[" + ", ".join(_flow(item) for item in items) + "]",
    }
    return writers.get(type(value), repr)(value)


def _text(text: str) -> str:
    """Quoted unless it reads back as itself."""
    plain = _PLAIN.fullmatch(text) and isinstance(scalar(text), str)
    return text if plain else _SPECIAL.sub(_escape, json.dumps(text, ensure_ascii=False))


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
