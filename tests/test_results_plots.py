from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from synthetic_run import Writer, fedavg

from edgenet.results import text
from edgenet.results.bars import Bar, bar_chart
from edgenet.results.svg import line_chart, ticks
from edgenet.results.write import write_all


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.34, 0.97, [0.2, 0.4, 0.6, 0.8, 1.0]),
        (3.0, 3.0, [3.0, 4.0]),
        (0.0, 0.0, [0.0, 0.2]),
        (-5.0, 12.0, [-5, 0, 5, 10, 15]),
        (1e-9, 3e-9, None),
        (1e6, 9e6, None),
    ],
)
def test_ticks_are_round_and_enclose_the_range(
    low: float, high: float, expected: list[float] | None
) -> None:
    found = ticks(low, high)
    assert found[0] <= low <= high <= found[-1]
    assert 2 <= len(found) <= 7
    if expected is not None:
        assert found == pytest.approx(expected)


def test_between_two_rounds_there_is_no_tick() -> None:
    assert ticks(1.0, 2.0, whole=True) == [1.0, 2.0]
    assert ticks(1.0, 10.0, whole=True) == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    points = [(1.0, 0.5), (2.0, 0.6)]
    assert "1.2<" in line_chart(points, title="t", x_label="time (s)", y_label="%")
    assert "1.2<" not in line_chart(points, title="t", x_label="round", y_label="%")


def points_of(picture: str) -> list[tuple[float, float]]:
    root = ElementTree.fromstring(picture)
    (line,) = [element for element in root if element.tag == "polyline"]
    return [
        (float(x), float(y)) for x, y in (pair.split(",") for pair in line.attrib["points"].split())
    ]


def test_a_curve_rises_where_the_values_rise() -> None:
    pixels = points_of(
        line_chart([(1, 0.2), (2, 0.4), (3, 0.9)], title="t", x_label="round", y_label="%")
    )
    assert [x for x, _ in pixels] == sorted(x for x, _ in pixels)
    assert [y for _, y in pixels] == sorted((y for _, y in pixels), reverse=True)


@pytest.mark.parametrize("points", [[], [(1.0, 0.5)], [(1.0, 0.0), (2.0, 0.0)]])
def test_curves_of_little_data_are_drawn(points: list[tuple[float, float]]) -> None:
    ElementTree.fromstring(line_chart(points, title="a < b", x_label="round", y_label="%"))


def test_bars_are_as_long_as_their_values() -> None:
    bars = [Bar("a & b", [("x", 3.0), ("y", 1.0)], "4 s"), Bar("c", [("x", 2.0), ("y", 0.0)], "2")]
    root = ElementTree.fromstring(bar_chart(bars, title="t", unit="s"))
    widths = [float(rect.attrib["width"]) for rect in root if rect.tag == "rect"]
    assert widths == pytest.approx([253.5, 84.5, 169.0, 0.0])


def test_bars_without_any_value_are_drawn() -> None:
    ElementTree.fromstring(
        bar_chart([Bar("a", [("x", 0.0)], "0")], title="t", unit="s", names=("x",))
    )
    ElementTree.fromstring(bar_chart([], title="t", unit="s"))


def test_a_large_run_shows_the_largest_links_only(tmp_path: Path) -> None:
    writer = fedavg(tmp_path, learners=30)
    writer.message("learner7", "server", 3, 3.9, payload=10**6)
    write_all(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "the largest 24 of 60" in page
    assert page.index("learner7-&gt;server") < page.index("learner0-&gt;server")


def test_a_failed_run_says_so_and_lists_its_faults(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.event("server", "start", 0.0, role="server")
    writer.event("server", "fault", 1.0, 1, peer="cam<1>", what="silent", why="no heartbeat")
    write_all(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert '<b class="bad">failed</b>' in page
    assert "cam&lt;1&gt;" in page


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_140_000, "2.1 MB"), (99_960_000, "100 MB"),
        (999_600, "1.0 MB"), (5e15, "5000 TB"), (None, "-"), (math.nan, "-"),
    ],
)  # fmt: skip
def test_amounts(value: float | None, shown: str) -> None:
    assert text.amount(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0 s"), (0.0123, "12 ms"), (0.9999, "1.00 s"), (1.236, "1.24 s"), (72.44, "72.4 s"),
        (725.0, "12:05"), (10930.0, "3:02:10"), (None, "-"), (math.inf, "-"),
    ],
)  # fmt: skip
def test_durations(value: float | None, shown: str) -> None:
    assert text.seconds(value) == shown


def test_sparklines_span_from_least_to_most() -> None:
    assert text.sparkline([0.0, math.nan, 0.5, 1.0], 10, ascii_only=True) == "_+#"
    assert text.sparkline([0, 1, 2, 3], 2, ascii_only=True) == "_#"
    assert text.sparkline([5.0, 5.0], 5, ascii_only=True) == "__"
    assert text.sparkline([], 5) == ""
