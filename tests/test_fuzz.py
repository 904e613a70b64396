"""Whatever is read is accepted or refused as documented, and what once was neither stays mended.

`benchmarks/fuzz.py` does the same with a million inputs.
"""

from __future__ import annotations

import importlib
import struct
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgenet.errors import TopologyError
from edgenet.links import frame
from edgenet.links.codec import decode, encode
from edgenet.links.frame import HEADER_BYTES, FrameError, Header
from edgenet.links.protocol import Kind
from edgenet.links.slabs import Slabs
from edgenet.topology import loads

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
NAMES = (
    "header",
    "sealed header",
    "message",
    "sealed message",
    "handshake, acceptor",
    "handshake, dialer",
    "cable",
    "rendezvous, server",
    "rendezvous, caller",
    "topology",
    "plan",
    "--set",
)
FIXED = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=400,
    suppress_health_check=list(HealthCheck),
)


@cache
def fuzz(name: str = "fuzz_targets") -> ModuleType:
    """The targets, which lie outside the package."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_all_targets_are_tried() -> None:
    found = fuzz().targets()
    assert tuple(found) == NAMES
    assert sum(target.share for target in found.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", NAMES)
def test_valid_inputs_are_accepted(name: str) -> None:
    target = fuzz().targets()[name]
    assert {fuzz().outcome(target, seed) for seed in target.seeds} == {"accepted"}


@pytest.mark.parametrize("name", NAMES)
def test_any_input_is_accepted_or_refused_as_documented(name: str) -> None:
    target = fuzz().targets()[name]
    seen = set()

    @FIXED
    @given(st.one_of(st.binary(max_size=400), st.randoms(use_true_random=False)))
    def attempt(drawn: Any) -> None:
        data = drawn if isinstance(drawn, bytes) else fuzz("fuzz_inputs").mutated(drawn, target)
        seen.add(fuzz().outcome(target, data))

    attempt()
    assert "refused" in seen


ITEMS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.booleans(),
    st.text(max_size=50),
    st.lists(st.integers(0, 3), max_size=4).map(lambda shape: torch.ones(shape)),
)


@FIXED
@given(st.lists(ITEMS, max_size=6))
def test_what_is_sent_is_what_arrives(items: list[Any]) -> None:
    packet = encode(tuple(items), Kind.DATA, round_=0, sequence=1, slabs=Slabs())
    raw = packet.blob.numpy().tobytes()
    header = Header.parse(raw[:HEADER_BYTES])
    there = decode(packet.blob, header)
    assert len(there) == len(items)
    for mine, theirs in zip(items, there, strict=True):
        if isinstance(mine, torch.Tensor):
            assert torch.equal(mine, theirs)
        else:
            assert (type(mine), mine) == (type(theirs), theirs)


def message(descriptors: bytes) -> bytes:
    """One item, without data."""
    total = -(-(HEADER_BYTES + len(descriptors)) // 64) * 64
    head = struct.pack(
        "<4sBBBxIQQQIII16x", b"EDGN", 1, 1, 0, 0, 1, total, 0, 1, len(descriptors), 0
    )
    whole: bytes = fuzz().sealed(head + descriptors + bytes(total - len(head) - len(descriptors)))
    return whole


@pytest.mark.parametrize("shape", [(0, 2**39, 2**39), (2**39, 2**39, 0), (0, 2**40, 2)])
def test_an_empty_tensor_of_an_endless_shape_is_refused(shape: tuple[int, ...]) -> None:
    raw = message(bytes((1, 8, len(shape))) + struct.pack(f"<{len(shape)}q", *shape))
    with pytest.raises(FrameError, match="sent a tensor of shape"):
        decode(torch.frombuffer(bytearray(raw), dtype=torch.uint8), Header.parse(raw))


def test_more_empty_tensors_than_a_message_may_have_are_refused() -> None:
    count = frame.MAX_ITEMS + 1
    raw = message(bytes((6,)) + struct.pack("<I", count) + bytes((8, 1, *bytes(8))) * count)
    with pytest.raises(FrameError, match="sent more than 65536 tensors"):
        decode(torch.frombuffer(bytearray(raw), dtype=torch.uint8), Header.parse(raw))


BOMBS = {
    "nested": ("[" * 200_000, "nested deeper than 12 levels"),
    "nested mappings": ("{a: " * 200_000, "nested deeper than 12 levels"),
    "laughs": ("a: &a [x, x]\nb: &b [*a, *a]\n", r"uses an anchor \(&a\)"),
    "a long anchor": (f"a: &{'a' * 9000} 1", r"uses an anchor \(&a{100}\.\.\.\)"),
    "values": ("a: [" + "1," * 200_000 + "]", "more than 50000 values"),
    "a long number": ("seed: " + "9" * 100_000, "value of 100000 characters"),
    "two lines": ('name: "a\\nb"', r"has the character '\\n' in a value"),
    "a zero byte": ('name: "a\\0"', r"has the character '\\x00' in a value"),
    "half a character": ('name: "\\uD800"', r"has the character '\\ud800' in a value"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_topology_that_is_a_bomb_is_refused(name: str) -> None:
    text, said = BOMBS[name]
    with pytest.raises(TopologyError, match=said) as refused:
        loads(text, "bomb.yaml")
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train." + "a." * 100_000 + "x=1", "nested deeper than 12 levels"),
        ("train.scheme=" + "[" * 100_000, "nested deeper than 12 levels"),
        ("seed=1\n2", "has a character that no key"),
        ("nodes.a.count=" + "9" * 29, "must lie between 1 and 2000"),
    ],
)
def test_a_set_that_is_a_bomb_is_refused_in_one_short_line(override: str, said: str) -> None:
    with pytest.raises(TopologyError, match=said) as refused:
        loads(fuzz().SMALL, "small.yaml", [override])
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400
