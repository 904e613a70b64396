"""What is fuzzed: everything that reads what a stranger, a peer or a user wrote.

A target takes any bytes and either accepts them or raises what its documentation promises; all else
is a failure: another exception, more memory than the limits allow, seconds for one input, or
that words were believed which differ from those that a holder of the key said.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fuzz_inputs import NUMBERS, YAML, Target
from fuzz_talks import (
    ACCEPTOR,
    DIALER,
    OPENED,
    answer,
    answered,
    conversation,
    opening,
    request,
    requested,
)

from edgenet.errors import InputError, LinkError, NodeError
from edgenet.links.codec import decode, encode
from edgenet.links.frame import HEADER_BYTES, FrameError, Header
from edgenet.links.protocol import Kind
from edgenet.links.reader import Reader
from edgenet.links.slabs import Slabs
from edgenet.links.wire import WireClosed
from edgenet.node.plan import resolve
from edgenet.topology import loads

MESSAGE_BYTES = 1 << 20
"""The largest message that the fuzzed reader takes."""
_FRAME_BYTES = 4096
_LONGEST_MESSAGE = 10_000
_TOPOLOGIES = Path(__file__).parent.parent / "topologies"


class _Wire:
    """Frames out of one string of bytes."""

    read_bytes = write_bytes = _FRAME_BYTES

    def __init__(self, said: bytes) -> None:
        whole = torch.zeros(-(-max(1, len(said)) // _FRAME_BYTES) * _FRAME_BYTES, dtype=torch.uint8)
        whole[: len(said)] = torch.frombuffer(bytearray(said or b"\0"), dtype=torch.uint8)[
            : len(said)
        ]
        self._frames = iter(whole.reshape(-1, _FRAME_BYTES))

    def read(self) -> torch.Tensor:
        frame: torch.Tensor | None = next(self._frames, None)
        if frame is None:
            raise WireClosed("ended")
        return frame


def sealed(data: bytes) -> bytes:
    """The same with checksums that fit, so that what they guard is reached."""
    if len(data) < HEADER_BYTES:
        return data
    raw = bytearray(data)
    (nbytes,) = struct.unpack_from("<I", raw, 40)
    described = raw[HEADER_BYTES : HEADER_BYTES + min(nbytes, len(raw))]
    struct.pack_into("<I", raw, 44, zlib.crc32(described.ljust(min(nbytes, 1 << 22), b"\0")))
    struct.pack_into("<I", raw, 60, zlib.crc32(raw[:60]))
    return bytes(raw)


def _header(data: bytes) -> None:
    header = Header.parse(data)
    assert Header.parse(header.pack()) == header


def _message(data: bytes) -> None:
    wire: Any = _Wire(data)
    message = Reader(wire, _SLABS, MESSAGE_BYTES).next()
    items = decode(message.blob, message.header)
    assert message.header.total_bytes <= MESSAGE_BYTES
    flat = [each for item in items for each in (item if isinstance(item, list) else [item])]
    held = sum(each.nbytes for each in flat if isinstance(each, torch.Tensor))
    assert held <= message.header.total_bytes


_SLABS = Slabs()


def _sealed_header(data: bytes) -> None:
    _header(sealed(data))


def _sealed_message(data: bytes) -> None:
    _message(sealed(data))


def _topology(data: bytes) -> None:
    loads(data.decode("utf-8", errors="replace"), "fuzz.yaml")


def _plan(data: bytes) -> None:
    resolve(loads(data.decode("utf-8", errors="replace"), "fuzz.yaml"))


def _override(data: bytes) -> None:
    loads(SMALL, "fuzz.yaml", [data.decode("utf-8", errors="replace")])


SMALL = """\
nodes: {a: {device: host}, b: {device: host, count: 2}}
links: {w: {rate: 1 Mbit, base: a, members: b}}
train: {scheme: fedavg}
"""


def _messages() -> tuple[bytes, ...]:
    items: tuple[tuple[Any, ...], ...] = (
        (torch.arange(10.0), 3, 2.5, True, "text"),
        ([torch.zeros(2, 3), torch.ones(0, 4)], torch.zeros(4, dtype=torch.bfloat16)),
        (torch.zeros(2000), torch.tensor(True)),
        (),
    )
    packets = [encode(each, Kind.DATA, round_=1, sequence=2, slabs=_SLABS) for each in items]
    return tuple(bytes(packet.blob.numpy().tobytes()) for packet in packets)


def targets() -> Mapping[str, Target]:
    """All of them, by name."""
    return {target.name: target for target in (*_of_messages(), *_of_talks(), *_of_files())}


def _of_messages() -> Iterator[Target]:
    seeds = _messages()
    for name, run, share in (
        ("header", _header, 0.1),
        ("sealed header", _sealed_header, 0.2),
        ("message", _message, 0.05),
        ("sealed message", _sealed_message, 0.25),
    ):
        broken = (FrameError, WireClosed)
        yield Target(name=name, run=run, refusals=broken, seeds=seeds, share=share, words=NUMBERS)


def _of_talks() -> Iterator[Target]:
    one = partial(Target, words=NUMBERS)
    yield one(
        name="handshake, acceptor",
        run=partial(conversation, "hub", None, DIALER),
        refusals=(LinkError,),
        seeds=(DIALER,),
        share=0.08,
    )
    yield one(
        name="handshake, dialer",
        run=partial(conversation, "p1", "hub", ACCEPTOR),
        refusals=(LinkError,),
        seeds=(ACCEPTOR,),
        share=0.08,
    )
    yield one(name="cable", run=opening, refusals=(OSError,), seeds=(OPENED,), share=0.08)
    asked, told = (requested(),), (answered(),)
    yield one(name="rendezvous, server", run=request, refusals=(OSError,), seeds=asked, share=0.06)
    refusals = OSError, NodeError
    yield one(name="rendezvous, caller", run=answer, refusals=refusals, seeds=told, share=0.06)


def _of_files() -> Iterator[Target]:
    one = partial(Target, words=YAML, refusals=(InputError,))
    files = tuple(path.read_bytes() for path in sorted(_TOPOLOGIES.glob("q*.yaml")))
    sets = (b"train.scheme=psl", b"nodes.b.count=5", b"links.w.rate=5 Mbit", b"seed=3")
    small = SMALL.encode()
    yield one(name="topology", run=_topology, seeds=(small, *files), share=0.027)
    yield one(name="plan", run=_plan, seeds=(small,), share=0.003)
    yield one(name="--set", run=_override, seeds=sets, share=0.01)


def _one_sentence(text: str) -> bool:
    return text.isprintable() and len(text) < _LONGEST_MESSAGE


def outcome(target: Target, data: bytes) -> str:
    """'accepted' or 'refused'; any failure is raised."""
    try:
        target.run(data)
    except target.refusals as error:
        if isinstance(error, InputError) and not _one_sentence(str(error)):
            raise AssertionError("a message that is no single line, or a long one") from error
        return "refused"
    return "accepted"
