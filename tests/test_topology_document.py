"""The strict YAML reader: what it understands, and the traps and bombs that it refuses."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from edgenet.errors import TopologyError
from edgenet.topology import load, loads
from edgenet.topology.document import MAX_DEPTH, parse, scalar

BILLION_LAUGHS = """\
a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]
nodes: *c
"""

REFUSED = {
    "billion laughs": (BILLION_LAUGHS, "t.yaml:1: uses an anchor (&a); write the value out"),
    "anchor": ("nodes: &n {a: {}}\n", "t.yaml:1: uses an anchor (&n); write the value out"),
    "alias": ("a: 1\nnodes: *n\n", "t.yaml:2: uses an alias (*n); write the value out"),
    "self-reference": ("nodes: &n [*n]\n", "t.yaml:1: uses an anchor (&n)"),
    "python tag": (
        "nodes: !!python/object/apply:os.system [ls]\n",
        "t.yaml:1: uses a tag (tag:yaml.org,2002:python/object/apply:os.system); only plain",
    ),
    "own tag": ("a: 1\nnodes: !x 1\n", "t.yaml:2: uses a tag (!x); only plain values are allowed"),
    "harmless tag": ("nodes: !!str a\n", "t.yaml:1: uses a tag (tag:yaml.org,2002:str)"),
    "two documents": ("a: 1\n---\nb: 2\n", "t.yaml:2: starts a second document; a topology is one"),
    "duplicate key": ("a: 1\nb: 2\na: 3\n", "t.yaml:3: repeats the key 'a' of line 1"),
    "duplicate key inside": ("x: {a: 1, a: 2}\n", "t.yaml:1: repeats the key 'a' of line 1"),
    "list as key": ("? [a]\n: b\n", "t.yaml:1: uses a list or mapping as a key; keys are names"),
    "deep flow": ("a: " + "[" * 50_000, f"t.yaml:1: is nested deeper than {MAX_DEPTH} levels"),
    "deep blocks": (
        "".join(" " * i + "a:\n" for i in range(500)),
        f"t.yaml:13: is nested deeper than {MAX_DEPTH} levels",
    ),
    "too many values": ("a: [" + "1," * 60_000 + "]\n", "t.yaml:1: has more than 50000 values"),
    "tab": ("nodes:\n\ta: 1\n", "t.yaml:2: not valid YAML: found character '\\t' that cannot sta"),
    "unclosed": ("nodes: {a: 1\n", "t.yaml:2: not valid YAML: expected ',' or '}'"),
    "unclosed quote": ("nodes: 'a\n", "t.yaml:2: not valid YAML: found unexpected end of stream"),
    "colon too many": ("a: b: c\n", "t.yaml:1: not valid YAML: mapping values are not allowed"),
    "control character": ("a: \x07\n", "t.yaml: not valid YAML: special characters are not"),
    "empty": ("", "t.yaml: the file is empty; it needs nodes, links and train"),
    "only a comment": ("# nothing\n", "t.yaml: the file is empty; it needs nodes, links and train"),
    "a list": ("[1, 2]\n", "t.yaml:1: a topology is a mapping of nodes, links and train"),
    "a word": ("hello\n", "t.yaml:1: a topology is a mapping of nodes, links and train"),
    "too large": ("#" * 1_000_001, "t.yaml: larger than 1 MB; a topology is a few kB"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(text: str, message: str) -> None:
    began = time.monotonic()
    with pytest.raises(TopologyError) as caught:
        loads(text, "t.yaml")
    assert str(caught.value)[: len(message)] == message
    assert time.monotonic() - began < 20.0


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"name: a\nnodes: \xff\xfe\n", ":2: not UTF-8 text; save the file as UTF-8"),
        ("name: a\n".encode("utf-16"), ":1: not UTF-8 text; save the file as UTF-8"),
        (b"a: \xe9\n", ":1: not UTF-8 text; save the file as UTF-8"),
        (b"#" * 1_000_001, ": larger than 1 MB; a topology is a few kB"),
        (b"\x00\x01\x02", ": not valid YAML: special characters are not allowed"),
    ],
    ids=["bytes", "utf-16", "latin-1", "large", "binary"],
)
def test_files_that_are_no_text(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_bytes(raw)
    with pytest.raises(TopologyError) as caught:
        load(path)
    assert str(caught.value) == f"{path}{message}"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match=r"none.yaml: no such file or directory; give the path"):
        load(tmp_path / "none.yaml")
    with pytest.raises(TopologyError, match=r": is a directory; give the path of a topology file"):
        load(tmp_path)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "marked.yaml"
    path.write_bytes(b"\xef\xbb\xbfnodes: {a: {}}\ntrain: {scheme: x}\n")
    assert load(path).name == "marked"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1.5", 1.5), ("-2", -2), ("010", 10), ("+7", 7), (".5", 0.5),
        ("true", True), ("False", False), ("null", None), ("~", None),
        ("no", "no"), ("on", "on"), ("1:30", "1:30"), ("1_000", "1_000"), ("0x10", "0x10"),
        ("2026-01-01", "2026-01-01"), ("20 Mbit", "20 Mbit"), (".inf", math.inf), ("e5", "e5"),
    ],
)  # fmt: skip
def test_words_mean_what_they_seem_to_mean(text: str, value: object) -> None:
    found = scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_quotes_make_text() -> None:
    tree = parse("a: '1e3'\nb: \"true\"\nc: 'null'\n", "t.yaml")
    assert tree.plain() == {"a": "1e3", "b": "true", "c": "null"}


def test_entries_know_the_line_of_their_key() -> None:
    tree = parse("a:\n  b:\n    - 1\n    - 2\n  c: {d: x,\n      e: y}\n", "t.yaml")
    assert isinstance(tree.value, dict)
    inner = tree.value["a"].value
    assert isinstance(inner, dict)
    found = inner["c"].value
    assert isinstance(found, dict)
    listed = inner["b"].value
    assert isinstance(listed, list)
    assert [inner["b"].line, inner["c"].line, found["d"].line, found["e"].line] == [2, 5, 5, 6]
    assert [item.line for item in listed] == [3, 4]
    assert found["e"].where == "t.yaml:6"
