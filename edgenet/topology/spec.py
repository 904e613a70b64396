"""The values that a topology file becomes. No kernel, no torch, no process: only numbers and names.

All quantities are SI: bits per second, seconds, metres, bytes, fractions of one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgenet.devices import PROFILES, Device
from edgenet.meters.energy import CARBON_KG_PER_KWH


@dataclass(frozen=True, kw_only=True)
class Channel:
    """What one direction of a link does to the bytes that pass through it."""

    rate_bps: float = math.inf
    """Bits per second; inf = as fast as the host."""
    delay_s: float = 0.0
    """One-way propagation delay."""
    jitter_s: float = 0.0
    """Half-width of the uniform variation of the delay; order is kept."""
    loss: float = 0.0
    """Probability that a packet is lost (and, on a reliable link, sent again)."""
    queue_bytes: int = 1_000_000
    """Bytes that may wait for transmission before the sender is held back."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One process, container or board."""

    name: str
    """Unique in the topology; members of a group of n are group0 .. group<n-1>."""
    group: str
    """The key under `nodes:` that it came from (equal to `name` for a single node)."""
    device: str
    """Name of its device profile (edgenet.devices)."""
    at: tuple[float, float] | None = None
    """Position in metres, for channels that depend on distance."""


@dataclass(frozen=True, kw_only=True)
class LinkSpec:
    """A wire between two nodes, or a medium: many members around one base (or a switch)."""

    name: str
    profile: str
    """'raw' (numbers in the file), or a family of edgenet.channels: 'ethernet', 'wifi', 'lte',
    'trace'."""
    options: Mapping[str, Any]
    """The profile's own settings, parsed to SI: for 'raw' the fields of Channel, optionally once
    more under 'up' (towards the base) and 'down'; for the others {'value': ...} or a mapping; for
    'trace' {'trace': {'up': Trace, 'down': Trace}}, one of which may be missing."""
    ends: tuple[str, ...]
    """Node names. A wire: two. A medium: the members (without the base)."""
    base: str | None = None
    """The medium's base station or access point, through which members reach each other too;
    None for a wire or a switch (there every end reaches every other in one hop)."""
    shared: bool = False
    """True: members that send at the same time share the medium's capacity."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """How much one direction of a link delivered over time: a recording, counted by intervals."""

    period_s: float
    """Length of the recording; then it starts again."""
    packets: tuple[int, ...]
    """Full packets (1500 bytes) that could be delivered in each of its equal intervals."""

    @property
    def interval_s(self) -> float:
        """Length of an interval."""
        return self.period_s / len(self.packets)


@dataclass(frozen=True, kw_only=True)
class TimedEvent:
    """Something that changes during the run."""

    at_s: float
    """Seconds after all nodes have joined; inf where it waits for a round."""
    kind: str
    """'degrade', 'cut', 'restore' (a link), 'move', 'slow', 'free' (a node), 'start', 'stop',
    'kill' (a node's process)."""
    target: str
    """Name of the link, or of the node."""
    nodes: tuple[str, ...] = ()
    """Only the hops from and to these of the link's nodes; () = the whole link."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """For 'degrade' fields of Channel, and 'factor' of the rate; for 'move' the position 'to';
    for 'slow' the 'factor' by which the node's device is slower than its profile."""
    at_round: int | None = None
    """'start', 'stop', 'kill' may happen as a round begins (1, 2, ...) instead of at a time."""


@dataclass(frozen=True, kw_only=True)
class Partition:
    """How the training set is dealt out to the nodes that train."""

    kind: str = "iid"
    """'iid', 'shards' (by label), 'dirichlet', or 'sizes'."""
    alpha: float = 0.5
    """Dirichlet concentration; small = each node sees few labels."""
    shards_per_node: int = 2
    """For 'shards': pieces of the label-sorted set that each node gets (McMahan et al., sec. 3)."""
    sizes: tuple[int, ...] = ()
    """For 'sizes': samples per node, drawn without replacement."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """The dataset and how much of it is used."""

    name: str = "digits"
    train: int | None = None
    """Use only this many training samples (drawn by the seed); None = all."""
    test: int | None = None
    """Use only this many test samples (drawn by the seed); None = all."""
    views: tuple[str, ...] = ()
    """One transformation per source (FPL)."""


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """The optimizer of every stage."""

    name: str = "sgd"
    """'sgd' or 'adam'."""
    momentum: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True, kw_only=True)
class Train:
    """What is trained, by which scheme, on what."""

    scheme: str
    model: str = "two-nn"
    data: Data = Data()
    partition: Partition = Partition()
    rounds: int = 10
    """Global rounds (`rounds:` or `epochs:` in the file: for schemes without rounds, epochs)."""
    local_epochs: int = 1
    """Passes over its own data that a learner makes between two exchanges of weights; 0 only
    exchanges (to measure what that costs)."""
    batch: int = 32
    lr: float = 0.05
    optimizer: Optimizer = Optimizer()
    cut: str | int | None = None
    """Where split schemes cut the model: a layer's name or the number of layers in the head."""
    evaluate: int = 1
    """Test the model every so many rounds (and after the last); 0 = never."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The scheme's own keys (`mu_prox`, `alpha`, ...), checked against the scheme."""


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What is done when a node dies, freezes or dawdles. Heartbeat, silence and join are for up to
    64 nodes; beyond, they grow with the number of nodes (one host holds so many slowly)."""

    heartbeat_s: float = 1.0
    """An idle link says that it is alive at least this often."""
    silence_s: float = 3.0
    """A peer that was not heard for this long counts as frozen or cut off."""
    quorum: float = 0.5
    """Least part of the peers that must be left: a fraction in (0, 1], or a count above 1."""
    join_s: float = 30.0
    """How long nodes wait for each other at the start."""
    deadline_s: float | None = None
    """A round (split learning: a step) does not wait longer than this for a slow peer; None = as
    long as it is alive."""
    checkpoint: int | None = None
    """Every node saves itself after every so many rounds; 0 = never; None = as often as it costs at
    most a fiftieth of the time."""
    restart: int = 0
    """How often the launcher starts a node again that was killed, failed, or froze."""
    spares: tuple[str, ...] = ()
    """Nodes that play no role, until each, in this order, takes the place of a node that was lost
    and that the run cannot do without."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Whether a run measures its links before it trains, and what it does about the result."""

    run: bool | None = None
    """None: where the kernel's network is emulated (netem, relay), and nowhere else."""
    tolerance: float = 0.1
    """A link that is further off than this part of what was asked is not trained on."""
    budget_s: float = 6.0
    """Seconds that measuring may take in a run; links that do not fit in are left out."""


@dataclass(frozen=True, kw_only=True)
class Topology:
    """A network and what is trained on it."""

    name: str
    nodes: tuple[Node, ...]
    links: tuple[LinkSpec, ...]
    train: Train
    faults: Faults = Faults()
    probe: Probe = Probe()
    place: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Role -> node names, where the default placement is not wanted."""
    events: tuple[TimedEvent, ...] = ()
    """What changes during the run, in file order."""
    devices: Mapping[str, Device] = field(default_factory=dict)
    """Profiles of its own (`devices:` in the file), by the names that nodes use."""
    shaping: str = "auto"
    limits: str = "auto"
    """What holds nodes to their devices' memory and cores: 'auto', 'cgroup', 'rlimit' and
    'accounting' (memory only), 'none'."""
    seed: int = 0
    carbon_kg_per_kwh: float = CARBON_KG_PER_KWH
    """Carbon intensity of the electricity that the nodes use (`carbon:` in the file)."""
    file: str = field(default="<topology>", compare=False)
    """Where it was read from, for messages."""
    lines: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)
    """Dotted path ('train.scheme', 'links.cell.members') -> line number in the file."""

    settings: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Dotted path -> the '--set path=value' that gave it, where it is not the file's."""

    def where(self, path: str) -> str:
        """'file:line' of a dotted path (or the --set that gave it), or of its nearest parent that
        is mentioned; what a message about it starts with."""
        while path:
            if path in self.settings:
                return self.settings[path]
            if path in self.lines:
                return f"{self.file}:{self.lines[path]}"
            path = path.rpartition(".")[0]
        return self.file

    def device(self, node: str) -> Device:
        """The profile of the device that the node called `node` is; KeyError if there is none."""
        return self.profile(self.node(node).device)

    def profile(self, device: str) -> Device:
        """The profile called `device`; KeyError if there is none."""
        return self.devices[device] if device in self.devices else PROFILES[device]

    def node(self, name: str) -> Node:
        """The node called `name`; KeyError if there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)
