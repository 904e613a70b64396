"""Pictures."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from edgenet.results.figures import picture


def test_a_picture_is_a_png_of_the_size_asked(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    with picture(file, columns=2, size=(2.0, 1.0)) as axes:
        axes[0, 0].plot([0, 1], [0, 1])
    head = file.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:24]) == (600, 150)


def test_a_picture_that_cannot_be_drawn_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), picture(tmp_path / "a.png"):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
