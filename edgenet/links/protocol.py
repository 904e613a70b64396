"""What a scheme may know of a link: two verbs, and a group of links with three more.

A message is a tuple of items. `recv` returns what `send` was given, the way a function returns
what stands behind `return`: one item bare, several as a tuple, none as ().

    server.send(smashed, labels, kind=Kind.ACTIVATION)      # at the client
    smashed, labels = client.recv()                         # at the server
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import torch

Item: TypeAlias = "torch.Tensor | int | float | bool | str | Sequence[torch.Tensor]"
"""What may travel: a tensor (any dtype, any shape, dense), a number, a short string (at most
4096 bytes of UTF-8), or a flat list of tensors (a model's state)."""


class Kind(enum.Enum):
    """What a message carries; bytes are metered by it. The value is its name in the events."""

    ACTIVATION = "activation"
    GRADIENT = "gradient"
    WEIGHTS = "weights"
    DATA = "data"
    CONTROL = "control"
    EVALUATION = "evaluation"
    """Sent only so that the testbed can measure (a client's head, to test it): no part of the
    scheme's cost, so it is counted apart and never paced."""
    PROBE = "probe"
    """Sent to find out what the link does, before the role plays: counted apart, and shaped."""


class Link(Protocol):
    """One end of a connection between two nodes."""

    node: str
    peer: str

    def send(self, *items: Item, kind: Kind = Kind.CONTROL) -> None:
        """Hand a message over and return; the items may be changed in place afterwards.

        Blocks only while the link's outbox is full (back-pressure).

        Raises:
            PeerLost, PeerSilent: the peer is gone or frozen.
        """

    def recv(self, *, timeout_s: float | None = None) -> Any:
        """Wait for the next message. Without a timeout the wait still ends when the peer is gone
        or silent.

        Raises:
            PeerLost, PeerSilent, LinkTimeout, ProtocolError: named with both ends and the round.
        """

    def close(self) -> None:
        """Send what waits, say goodbye, release everything. Closing twice is harmless."""


class LinkGroup(Protocol):
    """The links of one node to all peers of one role, in file order.

    A member that is lost or silent is dropped, recorded as a fault, and the group goes on while
    its quorum holds; when it does not, the verb raises QuorumLost with the reason for each loss.
    """

    def __len__(self) -> int:
        """How many members are alive."""

    def __iter__(self) -> Iterator[Link]:
        """The living members in file order."""

    def __getitem__(self, name: str) -> Link:
        """The member called `name`, alive or not. KeyError if there is none."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the living members in file order."""

    def admit(self) -> tuple[str, ...]:
        """Take in peers that have connected since the last call; returns the newcomers' names."""

    def send(self, name: str, *items: Item, kind: Kind = Kind.CONTROL) -> bool:
        """Send to one member; False (and the member is dropped) if it is gone."""

    def broadcast(
        self, *items: Item, kind: Kind = Kind.CONTROL, to: Iterable[str] | None = None
    ) -> tuple[str, ...]:
        """Encode once and send to all living members (or those named); returns who it went to.

        A radio's members would all hear one transmission. Sockets cannot do that, so each member
        gets its copy; what a broadcast would have saved is counted apart (`on_air`)."""

    def gather(
        self, of: Iterable[str] | None = None, *, deadline_s: float | None = None
    ) -> dict[str, Any]:
        """One message from each living member (or those named), in file order.

        Returns without the members that were lost, fell silent, or, when a deadline is given,
        were late (they stay members; their message is still there for a later `gather`).

        Raises:
            QuorumLost: fewer living members than the quorum are left.
        """

    def recv_any(self, *, timeout_s: float | None = None) -> tuple[str, Any]:
        """The next message from any member, and its sender's name: first come, first served."""
