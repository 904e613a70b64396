"""The `train:`, `faults:` and `probe:` sections. What only a scheme can judge goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgenet.topology.document import Entry
from edgenet.topology.nodes import Names
from edgenet.topology.section import Section, choose, show
from edgenet.topology.spec import Data, Faults, Optimizer, Partition, Probe, Train
from edgenet.units import fraction_or_count, parse_fraction, parse_time

COMMON = (
    "scheme", "model", "data", "partition", "rounds", "epochs", "local_epochs", "batch", "lr",
    "optimizer", "cut", "evaluate",
)  # fmt: skip
"""Keys of `train:` that every scheme understands."""
MILLION = 1_000_000
KINDS = ("iid", "shards", "dirichlet", "sizes")
OPTIMIZERS = ("sgd", "adam")


def read_train(entry: Entry) -> Train:
    """The section; keys that are not COMMON go to `options` as they are."""
    section = Section(entry, "train")
    if section.get("scheme") is None:
        raise section.fail("names no scheme; write for instance 'scheme: fedavg'")
    return Train(
        scheme=section.text("scheme"),
        model=section.text("model", "two-nn"),
        data=_data(section),
        partition=_partition(section),
        rounds=_rounds(section),
        local_epochs=section.whole("local_epochs", 1, 0, MILLION),
        batch=section.whole("batch", 32, 1, MILLION),
        lr=section.number("lr", 0.05, 0.0, 1e6),
        optimizer=_optimizer(section),
        cut=_cut(section),
        evaluate=section.whole("evaluate", 1, 0, MILLION),
        options=_options(section),
    )


_FAULTS = ("heartbeat", "silence", "quorum", "join", "deadline", "checkpoint", "restart", "spares")


def read_faults(entry: Entry, names: Names) -> Faults:
    """The section, with times in seconds; `names`: all nodes."""
    section = Section(entry, "faults")
    section.only(*_FAULTS)
    given: dict[str, Any] = {"restart": section.whole("restart", 0, 0, 1000)}
    for key in ("heartbeat", "silence", "join", "deadline"):
        value = section.quantity(key, parse_time)
        if value is not None and value <= 0:
            raise section.fail(f"has {key} 0; it must be a time above 0", key)
        if value is not None:
            given[f"{key}_s"] = value
    quorum = section.quantity("quorum", fraction_or_count)
    if quorum is not None:
        given["quorum"] = quorum
    if "checkpoint" in section:
        given["checkpoint"] = section.whole("checkpoint", 0, 0, MILLION)
    if "spares" in section:
        given["spares"] = names.expand(section, "spares")
    faults = Faults(**given)
    if faults.spares and not faults.restart:
        raise section.fail(
            "has spares, but restart is 0; a spare takes part when all nodes are started again, so "
            "set restart to how often that may be, or leave the spares and their nodes out",
            "spares",
        )
    if faults.silence_s <= faults.heartbeat_s:
        raise section.fail(
            f"has silence {faults.silence_s:g} s, which is not longer than the heartbeat "
            f"({faults.heartbeat_s:g} s): every idle peer would count as frozen",
            "silence" if "silence" in section else "heartbeat",
        )
    return faults


def read_probe(entry: Entry) -> Probe:
    """The section, with its budget in seconds."""
    section = Section(entry, "probe")
    section.only("run", "tolerance", "budget")
    tolerance = section.quantity("tolerance", parse_fraction)
    budget_s = section.quantity("budget", parse_time)
    for key, value in (("tolerance", tolerance), ("budget", budget_s)):
        if value is not None and value <= 0:
            raise section.fail(f"has {key} 0; leave links unmeasured with run: false", key)
    return Probe(
        run=section.flag("run", True) if "run" in section else None,
        tolerance=Probe().tolerance if tolerance is None else tolerance,
        budget_s=Probe().budget_s if budget_s is None else budget_s,
    )


def _rounds(section: Section) -> int:
    if "rounds" in section and "epochs" in section:
        raise section.fail("has both rounds and epochs; keep one", "epochs")
    return section.whole("epochs" if "epochs" in section else "rounds", 10, 1, MILLION)


def _data(section: Section) -> Data:
    entry = section.get("data")
    if entry is None or not isinstance(entry.value, dict):
        return Data(name=section.text("data", "digits"))
    data = Section(entry, "train.data")
    data.only("name", "train", "test", "views")
    return Data(
        name=data.text("name", "digits"),
        train=data.whole("train", 0, 1, 100 * MILLION) if "train" in data else None,
        test=data.whole("test", 0, 1, 100 * MILLION) if "test" in data else None,
        views=tuple(data.names("views")),
    )


def _partition(section: Section) -> Partition:
    """A name ('iid'), a kind with its number ({dirichlet: 0.5}), or {kind: ..., alpha: ...}."""
    entry = section.get("partition")
    if entry is None or not isinstance(entry.value, dict):
        kind = section.text("partition", "iid", KINDS)
        if kind == "sizes":
            raise section.fail("has partition 'sizes'; write partition: {sizes: [600, 400]}",
                               "partition")  # fmt: skip
        return Partition(kind=kind)
    partition = Section(entry, "train.partition")
    if "kind" in partition:
        return _partition_by_kind(partition)
    partition.only(*KINDS)
    if len(partition.entries) != 1:
        raise partition.fail(f"needs exactly one of {', '.join(KINDS)}")
    kind = next(iter(partition))
    if kind == "shards":
        return Partition(kind=kind, shards_per_node=partition.whole("shards", 2, 1, MILLION))
    if kind == "dirichlet":
        return Partition(kind=kind, alpha=partition.number("dirichlet", 0.5, 1e-3, 1e6))
    if kind == "sizes":
        return Partition(kind=kind, sizes=_sizes(partition))
    if partition.entries["iid"].value not in (None, True):
        raise partition.fail("has iid with a value; write partition: iid", "iid")
    return Partition()


def _partition_by_kind(partition: Section) -> Partition:
    partition.only("kind", "alpha", "shards_per_node", "sizes")
    kind = partition.text("kind", "iid", KINDS)
    if kind == "sizes" and "sizes" not in partition:
        raise partition.fail("has kind 'sizes' but no sizes", "kind")
    return Partition(
        kind=kind,
        alpha=partition.number("alpha", 0.5, 1e-3, 1e6),
        shards_per_node=partition.whole("shards_per_node", 2, 1, MILLION),
        sizes=_sizes(partition),
    )


def _sizes(partition: Section) -> tuple[int, ...]:
    return tuple(
        partition.as_whole(item, "sizes", 1, 100 * MILLION) for item in partition.items("sizes")
    )


def _optimizer(section: Section) -> Optimizer:
    entry = section.get("optimizer")
    if entry is None or not isinstance(entry.value, dict):
        return Optimizer(name=section.text("optimizer", "sgd", OPTIMIZERS))
    optimizer = Section(entry, "train.optimizer")
    optimizer.only("name", "momentum", "weight_decay", "betas")
    betas = optimizer.items("betas")
    if betas and len(betas) != 2:
        raise optimizer.fail(f"has {len(betas)} betas; there are two", "betas")
    first, second = (optimizer.as_number(item, "betas", 0.0, 1.0) for item in betas) if betas else (
        Optimizer().betas
    )  # fmt: skip
    return Optimizer(
        name=optimizer.text("name", "sgd", OPTIMIZERS),
        momentum=optimizer.number("momentum", 0.0, 0.0, 1.0),
        weight_decay=optimizer.number("weight_decay", 0.0, 0.0, 1e6),
        betas=(first, second),
    )


def _cut(section: Section) -> str | int | None:
    entry = section.get("cut")
    if entry is None:
        return None
    if isinstance(entry.value, str):
        return entry.value
    if isinstance(entry.value, int) and not isinstance(entry.value, bool):
        return section.whole("cut", 1, 1, MILLION)
    raise section.fail(
        f"has cut {show(entry.value)}; it must be a layer's name or a number of layers", "cut"
    )


def _options(section: Section) -> Mapping[str, Any]:
    """The keys that only the scheme knows: scalars, lists and mappings of scalars."""
    options = {key: section.get(key) for key in section if key not in COMMON}
    found: dict[str, Any] = {}
    for key, entry in options.items():
        assert entry is not None
        value = entry.value
        items = [entry]
        if isinstance(value, (list, dict)):
            items = value if isinstance(value, list) else list(value.values())
        for item in items:
            if item.value is None or isinstance(item.value, (list, dict)):
                hint = choose(key, "the keys of every scheme", COMMON)
                raise section.fail(
                    f"has {key} with {show(item.value)} in it; a scheme's own keys take numbers, "
                    f"names, lists and mappings of them ({hint})",
                    key,
                )
            if isinstance(item.value, float) and not math.isfinite(item.value):
                raise section.fail(f"has {key} {item.value}; it must be a finite number", key)
        if isinstance(value, dict):
            found[key] = {name: item.value for name, item in value.items()}
        else:
            found[key] = [item.value for item in items] if isinstance(value, list) else value
    return found
