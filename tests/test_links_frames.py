"""Bytes that are no message never crash the receiver and never make it allocate much."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from dataclasses import replace
from typing import Any

import pytest
import torch
from link_pairs import Setting, memory

from edgenet.errors import PeerLost, ProtocolError
from edgenet.links.codec import Packet, decode, encode
from edgenet.links.frame import HEADER_BYTES, FrameError, Header
from edgenet.links.link import WireLink
from edgenet.links.memory import MemoryWire, wires
from edgenet.links.protocol import Kind
from edgenet.links.reader import Reader
from edgenet.links.shared import Limits, Shared
from edgenet.links.slabs import Slabs

ITEMS = (
    torch.arange(12.0).reshape(3, 4),
    [torch.ones(5, dtype=torch.int64), torch.tensor(True), torch.empty(0, 3)],
    7,
    2.5,
    False,
    "text",
)


def packet(*items: Any) -> Packet:
    return encode(items, Kind.DATA, round_=3, sequence=1, slabs=Slabs())


def checked(header: bytearray) -> bytes:
    """The header with a checksum that fits what stands in it."""
    header[60:64] = struct.pack("<I", zlib.crc32(bytes(header[:60])))
    return bytes(header)


def receive(raw: bytes, limit_bytes: int = 10_000_000) -> None:
    """What a reader and `recv` do with these bytes."""
    sender, receiver = wires()
    frame = torch.frombuffer(bytearray(raw), dtype=torch.uint8) if raw else torch.empty(0)
    sender.write(frame.to(torch.uint8))
    sender.close()
    reader = Reader(receiver, Slabs(), limit_bytes)
    message = reader.next()
    decode(message.blob, message.header)


def test_a_header_is_64_bytes_and_survives_the_trip() -> None:
    sent = packet(*ITEMS)
    raw = sent.blob.numpy().tobytes()
    header = Header.parse(raw[:HEADER_BYTES])
    assert header == sent.header
    assert (header.round, header.sequence, header.kind) == (3, 1, Kind.DATA)
    assert header.total_bytes == len(raw)
    assert len(sent.header.pack()) == HEADER_BYTES


def test_many_numbers_are_a_message_too() -> None:
    """Their payload stands in the descriptors, not behind them."""
    sent = packet(*range(6), 1.5, "some text that is longer than the padding of a message")
    raw = sent.blob.numpy().tobytes()
    assert Header.parse(raw[:HEADER_BYTES]) == sent.header
    assert decode(sent.blob, sent.header)[:6] == tuple(range(6))


def test_tensors_are_views_of_the_message_and_aligned() -> None:
    sent = packet(*ITEMS)
    first, (second, _, _), *_ = decode(sent.blob, sent.header)
    for tensor in (first, second):
        assert tensor.data_ptr() % 64 == 0
        assert sent.blob.data_ptr() < tensor.data_ptr() < sent.blob.data_ptr() + sent.blob.numel()


@pytest.mark.parametrize(
    "items",
    [
        (1, [torch.ones(32, 1, 5, 5), torch.ones(32)]),  # 6 bytes of padding, 8 of the number
        (1, 2, 3, 4, 5, 6, 7),
        ("a" * 4096,),
        tuple(range(200)),
    ],
)
def test_numbers_and_texts_need_no_padding_to_hide_in(items: tuple[Any, ...]) -> None:
    """They are payload and stand among the descriptors: they must not be counted as both."""
    receive(packet(*items).blob.numpy().tobytes())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"total_bytes": 2**40}, "announced a message of 1099511627776 bytes"),
        ({"total_bytes": 0}, "larger than the whole"),
        ({"payload_bytes": 2**63}, "larger than the whole"),
        ({"items": 2**32 - 1}, "announced 4294967295 items"),
        ({"descriptor_bytes": 2**32 - 1}, "bytes of descriptors"),
    ],
)
def test_a_lying_header_is_refused_before_anything_is_allocated(
    changes: dict[str, int], said: str
) -> None:
    raw = replace(packet(*ITEMS).header, **changes).pack()
    tracemalloc.start()
    try:
        with pytest.raises(FrameError, match=said):
            Header.parse(raw)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("position", "value", "said"),
    [(0, b"HTTP", "start with b'HTTP'"), (4, b"\x09", "version 9"), (5, b"\x07", "type 7")],
)
def test_the_first_bytes_are_told_apart(position: int, value: bytes, said: str) -> None:
    raw = bytearray(packet().blob.numpy().tobytes())
    raw[position : position + len(value)] = value
    with pytest.raises(FrameError, match=said):
        receive(checked(raw))


def test_a_flipped_bit_in_header_or_descriptors_is_noticed() -> None:
    whole = packet(*ITEMS)
    raw = whole.blob.numpy().tobytes()
    for position in range(HEADER_BYTES + whole.header.descriptor_bytes):
        broken = bytearray(raw)
        broken[position] ^= 1 << position % 8
        with pytest.raises(FrameError):
            receive(bytes(broken))


def described(descriptors: bytes, items: int, payload: int, data: bytes) -> bytes:
    """A message around any descriptors, its checksums right."""
    front = HEADER_BYTES + len(descriptors)
    body = descriptors + bytes(-front % 64) + data
    header = replace(
        packet().header,
        items=items,
        descriptor_bytes=len(descriptors),
        descriptor_crc=zlib.crc32(descriptors),
        total_bytes=HEADER_BYTES + len(body),
        payload_bytes=payload,
    )
    return header.pack() + body


TENSOR = b"\x01\x08\x01" + struct.pack("<q", 4)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (described(TENSOR, 1, 16, bytes(12)), "larger than its message"),
        (described(TENSOR, 1, 16, bytes(20)), "do not add up"),
        (described(TENSOR, 1, 8, bytes(16)), "do not add up"),
        (described(TENSOR, 2, 16, bytes(16)), "end too early"),
        (described(TENSOR + b"\x04\x01", 1, 16, bytes(16)), "more item descriptors"),
        (described(b"\x01\x63\x00", 1, 0, b""), "dtype 99"),
        (described(b"\x01\x08\xff" + bytes(8 * 255), 1, 0, b""), "255 dimensions"),
        (described(b"\x01\x08\x01" + b"\xff" * 8, 1, 0, b""), r"shape \(-1,\)"),
        (described(b"\x01\x08\x02" + struct.pack("<qq", 2**62, 4), 1, 0, b""), "of shape"),
        (described(b"\x01\x08\x03" + struct.pack("<qqq", *[2**39] * 3), 1, 0, b""), "larger than"),
        (described(b"\x06" + b"\xff" * 4, 1, 0, b""), "end too early"),
        (described(b"\x05\x02\x00\xff\xff", 1, 2, b""), "cannot be read"),
        (described(b"\x2a", 1, 0, b""), "type 42"),
    ],
)
def test_descriptors_that_do_not_fit_are_refused(raw: bytes, said: str) -> None:
    with pytest.raises(FrameError, match=said):
        receive(raw)


def test_random_and_mutated_bytes_end_in_an_error_or_a_message() -> None:
    dice = random.Random(5)
    whole = packet(*ITEMS).blob.numpy().tobytes()
    survived = 0
    tracemalloc.start()
    try:
        for _ in range(3000):
            raw = bytearray(whole)
            for _ in range(dice.randint(1, 8)):
                raw[dice.randrange(len(raw))] = dice.randrange(256)
            if dice.random() < 0.2:
                raw = bytearray(dice.randbytes(dice.randint(1, 200)))
            elif dice.random() < 0.8:  # let it past the checksums
                size = struct.unpack_from("<I", raw, 40)[0]
                front = bytes(raw[HEADER_BYTES : HEADER_BYTES + min(size, len(raw))])
                raw[44:48] = struct.pack("<I", zlib.crc32(front))
                raw = bytearray(checked(raw))
            try:
                receive(bytes(raw))
                survived += 1
            except FrameError:
                pass
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert 0 < survived < 3000


def feed(frames: list[bytes], limits: Limits | None = None) -> tuple[WireLink, MemoryWire]:
    """A link whose peer is this test, which writes raw frames."""
    mine, theirs = wires()
    link = WireLink("node", "stranger", theirs, Shared(limits=limits or Limits())).start()
    for raw in frames:
        mine.write(torch.frombuffer(bytearray(raw), dtype=torch.uint8))
    return link, mine


@pytest.mark.parametrize("raw", [b"GET / HTTP/1.1\r\n\r\n", bytes(64), bytes(1000)])
def test_a_link_hangs_up_on_nonsense(raw: bytes) -> None:
    link, mine = feed([raw])
    with pytest.raises(ProtocolError, match="node <-> stranger, round 0: stranger sent"):
        link.recv(timeout_s=5)
    with pytest.raises(ProtocolError):
        link.send(1)
    mine.close()
    link.close()


def test_a_message_above_the_limit_is_refused() -> None:
    link, _ = feed([packet(torch.zeros(1000)).blob.numpy().tobytes()], Limits(message_bytes=3000))
    with pytest.raises(
        ProtocolError, match=r"announced a message of 4\d+ bytes; the limit is 3000"
    ):
        link.recv(timeout_s=5)
    link.close()


def test_half_a_message_is_none() -> None:
    link, mine = feed([packet(torch.zeros(1000)).blob.numpy().tobytes()[:2000]])
    with pytest.raises(ProtocolError, match="sent a frame of 2000 bytes"):
        link.recv(timeout_s=5)
    link.close()
    mine.close()


def test_a_bool_is_zero_or_one_whatever_came() -> None:
    raw = described(b"\x01\x00\x01" + struct.pack("<q", 3), 1, 3, b"\x00\x02\xff")
    link, mine = feed([raw])
    assert link.recv(timeout_s=5).to(torch.uint8).tolist() == [0, 1, 1]
    mine.close()
    with pytest.raises(PeerLost):
        link.recv(timeout_s=5)
    link.close()


def test_a_small_message_is_one_frame() -> None:
    with memory(Setting()) as ends:
        for _ in range(3):
            ends.left.send(torch.zeros(16), [torch.zeros(3)], 1, "x")
            ends.right.recv(timeout_s=5)
        assert ends.right._reader.frames == 3
