"""What a scheme is given: the vocabulary between the mathematics and the machinery.

A role is a plain function, written straight down; `Role.play` picks what that function needs from
the node's bench (its links, its part of the model, its data) and calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from torch import Tensor, nn

from edgenet.data import Dataset, Eye, Order
from edgenet.links.protocol import Link, LinkGroup
from edgenet.models.layers import LayerList
from edgenet.models.stage import Stage
from edgenet.models.strategies import Choice
from edgenet.models.timing import StageCost
from edgenet.topology.spec import Channel, Node, Train

Direct: TypeAlias = Callable[[str, str], bool]
"""Whether two nodes reach each other, both ways, past all others that play a role."""


class Batches(Protocol):
    """A node's own share of the training data."""

    @property
    def samples(self) -> int:
        """|D_i|: samples in the share."""

    def __len__(self) -> int:
        """Batches in one pass (the last may be smaller)."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass: (inputs (batch, channels, height, width), labels (batch,)); every pass in a
        new order that depends on the seed, the share and the number of the pass alone."""

    def stream(self, after: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of pass after pass, without end, from the one behind the first `after`: for
        rounds that are not whole passes."""


class Rounds(Protocol):
    """The rounds of a run. Iterating sets the round that everything is metered under."""

    def __len__(self) -> int:
        """`train.rounds`."""

    @property
    def first(self) -> int:
        """The round that the run begins with: 1, or the one after its checkpoint."""

    def __iter__(self) -> Iterator[int]:
        """1 (or `first`), 2, ... up to `train.rounds`."""

    def enter(self, number: int) -> AbstractContextManager[None]:
        """Set the current round, at a node whose rounds are counted by another. `with` it the end
        of the round is known too, not only when the next one begins."""

    def recall(self, name: str, default: Any = None) -> Any:
        """What was last remembered under this name, also before the run was resumed; else
        `default`. Stages, batches and orders need not be remembered: they are restored as they
        were when the last round had ended."""

    def remember(self, **values: Any) -> None:
        """Keep variables that live longer than a round: tensors, numbers, strings, and lists,
        tuples and dicts of them; as they are at the end of the round."""

    def report(
        self,
        *,
        state: Sequence[Tensor] | None = None,
        models: Sequence[Sequence[Tensor]] = (),
        names: Sequence[str] | None = None,
        infer: Callable[[Tensor], Tensor] | None = None,
        **figures: Any,
    ) -> None:
        """Record this round's figures (loss=..., active=...) and save `state` (the global model, as
        `Stage.state`) as the newest checkpoint. When an evaluation is due, test it and record
        the accuracy; where every client has a model of its own, `models` has them all, and the test
        set is dealt out among them.

        A global model that is not `train.model` comes with the `names` of its tensors (state_dict
        keys), and with `infer`, from indices of test samples to their logits."""

    def due(self) -> bool:
        """Whether the global model is wanted at the end of this round (to be tested; the last)."""


class Bench(Protocol):
    """Everything that one node has to work with."""

    name: str
    seed: int
    options: Any
    """The scheme's own settings: an instance of its `Scheme.options`."""
    local_epochs: int
    batch: int
    """`train.batch`, for schemes whose data comes over the links."""
    deadline_s: float | None
    layout: Any
    """What `Scheme.arrange` made of the run."""

    def link(self, role: str) -> Link:
        """The link to the one peer that plays `role`."""

    def links(self, role: str) -> LinkGroup:
        """The links to all peers that play `role`, in file order."""

    def model(self) -> Stage:
        """The whole model."""

    def head(self) -> Stage:
        """The layers before `train.cut`."""

    def tail(self, *, lr_factor: float = 1.0) -> Stage:
        """The layers after `train.cut`, learning at `lr_factor` times `train.lr`."""

    def layers(self) -> LayerList:
        """The whole model's layers, initialised by the seed, for schemes that take it apart."""

    def stage(
        self,
        layers: nn.Module,
        *,
        first: bool = False,
        lr_factor: float = 1.0,
        choices: Sequence[Choice] | None = None,
    ) -> Stage:
        """`layers` as a stage of this node: with the run's optimizer at `lr_factor` times
        `train.lr`, slowed down like the device, counted in its memory. `first`: nobody needs the
        error of its input. `choices`: how each layer with weights keeps several versions of them,
        where weights change between a forward and its backward."""

    def cast(self, role: str) -> tuple[str, ...]:
        """The names of all nodes that play `role`, there or not, in file order."""

    def eye(self, name: str | None = None) -> Eye:
        """What node `name` (None = this one), of a role that `sees`, sees of the dataset."""

    def order(self, times: int = 1) -> Order:
        """The order in which the whole training set is gone through: the same at every node. An
        epoch of it is `local_epochs` passes. With `times`, of as many samples so many times over
        (counted from 0), for a set that is put together from what several sources see."""

    def whole(self) -> nn.Module:
        """The scheme's own global model (`Scheme.model`), initialised by the seed."""

    def held(self) -> str:
        """What this node's stages hold in memory now, for a sentence."""

    def dataset(self) -> Dataset:
        """The whole dataset, for schemes that deal it out in ways of their own."""

    def batches(self) -> Batches:
        """This node's share of the training data."""

    def rounds(self) -> Rounds:
        """The rounds to go through."""

    def clock(self) -> float:
        """Seconds since some moment, for schemes that act on times they measure."""

    def note(self, event: str, **fields: Any) -> None:
        """Append an event of the scheme's own to this node's journal."""


@dataclass(frozen=True, kw_only=True)
class Role:
    """One kind of node in a scheme."""

    name: str
    play: Callable[[Bench], None]
    """Calls the role's function with what it needs from the bench; returns when training ends."""
    many: bool = False
    """False: exactly one node plays it. True: all the nodes that are left, at least one."""
    essential: bool = True
    """The run cannot go on without it. Where False, the quorum of its peers decides."""
    returns: bool = False
    """One that starts later, or again, is taken in by its peers (`LinkGroup.admit`) and takes part
    from then on. Only where it is not essential."""
    peers: tuple[str, ...] = ()
    """Roles it exchanges messages with; each such pair of nodes gets a link."""
    trains_on: bool = False
    """It owns a share of the training data."""
    sees: bool = False
    """It sees every sample of the training data, through its own one of `train.data.views`; where
    it also `trains_on`, it does so if there are views, and else has a share."""
    chain: bool = False
    """Its nodes, with those of the other roles of the chain, stand in a row in rank order, and
    exchange messages with their neighbours in it only."""
    placed: bool = False
    """Only nodes that `place:` names play it; there may be none."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a scheme's own global model is made from."""

    layers: LayerList
    """`train.model`, initialised by the seed; not used elsewhere."""
    image: tuple[int, ...]
    """Shape of its input: (channels, height, width)."""
    shapes: Mapping[str, tuple[int, ...]]
    """Shape of what each node sees, of all that see, in file order."""
    options: Any
    """An instance of `Scheme.options`."""
    cut: str | int | None
    """`train.cut`."""
    seed: int
    """The run's."""
    rounds: int
    """`train.rounds`."""
    cast: Mapping[str, tuple[str, ...]]
    """Role -> the names of its nodes."""


@dataclass(frozen=True)
class Measured:
    """What a model's layers take, as measured."""

    layers: tuple[StageCost, ...]
    """Each layer's time on one thread of this host, for one batch."""
    slowdowns: tuple[float, ...]
    """How many times longer each node of the ground takes."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a scheme may lay its work out on, known before a run and the same at every node."""

    train: Train
    """The section of the topology."""
    options: Any
    """An instance of `Scheme.options`."""
    layers: LayerList
    """`train.model`; only its shapes matter."""
    image: tuple[int, ...]
    """Shape of its input: (channels, height, width)."""
    samples: Mapping[str, int]
    """Node that trains -> samples of its share."""
    nodes: tuple[Node, ...]
    """The nodes that play a role, in rank order."""
    speeds: tuple[float, ...]
    """FLOP/s of each of them in training."""
    memories: tuple[int | None, ...]
    """Bytes of RAM of each of their devices; None = this machine's."""
    hops: tuple[Channel, ...]
    """Between each of them and the next."""
    direct: Direct
    """Of any two of them."""
    measure: Callable[[int], Measured] | None = None
    """Measures the layers on a batch of so many samples, here and now: another time they take
    another time. None where that must not be, because other nodes make the same layout."""


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A way of distributing training."""

    name: str
    summary: str
    """One line for `--help` and reports, with the paper's section."""
    roles: tuple[Role, ...]
    """In the order in which they take nodes: single roles first."""
    options: type | None = None
    """A frozen dataclass of the scheme's own keys under `train:`; its defaults are the paper's. A
    ValueError that it raises starts with the name of the key."""
    cuts: bool = False
    """It needs `train.cut`."""
    check: Callable[[Any, Mapping[str, int], int], None] | None = None
    """Called before a run with the options, {node that trains: samples} and `train.batch`. A
    ValueError that it raises starts with the name of the key under `train:`."""
    arrange: Callable[[Ground], Any] | None = None
    """Lays the work out before a run; what it returns is every bench's `layout`. A ValueError that
    it raises starts with the name of the key that is wrong."""
    meets: Callable[[Any, Sequence[str], Direct], Collection[tuple[str, str]]] | None = None
    """Which nodes exchange messages, of those that `peers` lets, where that hangs on the options or
    on the network: given the options and the nodes in rank order. A ValueError that it raises
    starts with the name of the key that is wrong."""
    remark: Callable[[Any], str] | None = None
    """A sentence for the records about the layout."""
    settle: Callable[[Ground], Mapping[str, tuple[Any, ...]]] | None = None
    """Called before `arrange`: options that follow from what is measured, for the resolved
    topology, so that all nodes have the same. A ValueError likewise."""
    advise: Callable[[Any, str], str] | None = None
    """What would fit, for a node (given the layout and its name) that has too little memory."""
    needs: Callable[[Any, str], int] | None = None
    """Bytes that a node (given the layout and its name) holds of the model, at most."""
    model: Callable[[Setting], nn.Module] | None = None
    """Makes the global model where that is not `train.model`. A ValueError that it raises starts
    with the name of the key that is wrong."""
