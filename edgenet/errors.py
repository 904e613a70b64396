"""Every error that edgenet raises on purpose, and the exit code each one ends a command with.

EdgenetError                    3  something went wrong while running
|-- InputError                  2  the user can mend it: a sentence with the place in it
|   |-- TopologyError           2  ... in a topology file: 'file.yaml:12: what; the choices are ...'
|   |-- DataError               2  ... in a dataset: missing, damaged, or of the wrong shape
|   `-- ShapingError            2  ... the machine cannot do the shaping that was asked for by name
|-- NodeError                   3  a node cannot go on (out of memory, non-finite loss, ...)
|   |-- CannotWrite             3  ... or what a run has to write down does not get onto the disk
|   |-- LinkError               3  names both ends, the step and the remedy
|   |   |-- PeerLost            3  the connection is gone (killed, crashed, unplugged)
|   |   |   `-- PeerLeft        3  ... after it had said goodbye
|   |   |-- PeerSilent          3  connected, but no heartbeat (frozen, or the network is cut)
|   |   |-- LinkTimeout         3  alive, but the awaited message did not come within its deadline
|   |   |-- ProtocolError       3  the peer sent bytes that are not a valid frame
|   |   `-- JoinRefused         3  the peer does not hold the join key, or runs another topology
|   |-- ProbeError              3  a link was measured, and it is not what the topology says
|   `-- QuorumLost              3  too few peers are left to go on
`-- Interrupted               130  Ctrl-C or SIGTERM
"""

from __future__ import annotations

DONE, BAD_INPUT, NODE_FAILED, INTERRUPTED = 0, 2, 3, 130
UNWRITABLE = 74
"""A node's process ends with it (EX_IOERR) when it has no place left to say why: see CannotWrite.
No command does."""


class EdgenetError(Exception):
    """Root of the tree; `exit_code` is what the command line ends with."""

    exit_code = NODE_FAILED


class InputError(EdgenetError):
    """The user asked for something that cannot be; the message says what and where."""

    exit_code = BAD_INPUT


class TopologyError(InputError):
    """A topology file says something impossible; the message starts with `file:line:`."""


class DataError(InputError):
    """A dataset is missing, damaged, or not of the shape the model takes."""


class ShapingError(InputError):
    """A shaping back end was asked for by name and this machine cannot do it."""


class NodeError(EdgenetError):
    """A node cannot go on."""


class CannotWrite(NodeError):
    """What a run has to write down does not get onto the disk.

    Args:
        path: the file, or the folder.
        why: the system's reason ('No space left on device').
    """

    def __init__(self, path: object, why: object) -> None:
        super().__init__(
            f"{path}: cannot be written ({why}); make room on its disk, then go on with "
            "`edgenet run --resume RUN`"
        )


class LinkError(NodeError):
    """A link failed. Its text names this node, the peer, the step, and what to do.

    Args:
        node: the end that noticed.
        peer: the other end.
        what: what happened, as a clause ('closed the connection').
        remedy: what the user can do, as a sentence without its full stop.
        step: the round or step in which it happened; None before the first.
    """

    remedy = "see the peer's log.txt"

    def __init__(
        self, node: str, peer: str, what: str, *, remedy: str = "", step: int | None = None
    ) -> None:
        self.node, self.peer, self.what, self.step = node, peer, what, step
        at = "" if step is None else f", round {step}"
        super().__init__(f"{node} <-> {peer}{at}: {peer} {what}; {remedy or self.remedy}")


class PeerLost(LinkError):
    """The connection is gone: the peer was killed, crashed, or its host went away."""

    remedy = "see the peer's log.txt for why it ended"


class PeerLeft(PeerLost):
    """The peer said goodbye and closed the connection."""


class PeerSilent(LinkError):
    """The connection stands but nothing is heard, not even a heartbeat."""

    remedy = (
        "the peer is frozen or the network between is cut; raise faults.silence if it is only slow"
    )


class LinkTimeout(LinkError):
    """The peer is alive, but what was awaited did not come in time."""

    remedy = "raise the deadline, or give the peer less work"


class ProtocolError(LinkError):
    """Bytes arrived that are no valid frame; the link is closed."""

    remedy = "check that both ends run the same edgenet version"


class JoinRefused(LinkError):
    """The handshake failed: another key, another topology, or another version."""

    remedy = "give every node the same EDGENET_KEY and the same topology file"


class QuorumLost(NodeError):
    """Fewer peers are left than the scheme may go on with."""


class ProbeError(NodeError):
    """A link was measured before the run, and it is not what the topology asks for."""


class Interrupted(EdgenetError):
    """The user, or the system, asked the run to stop."""

    exit_code = INTERRUPTED
