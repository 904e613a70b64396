"""Many schemes in one picture: each can be told from every other, as PNG and on a page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgenet.results import compare_plots, figures, looks
from edgenet.results.compare import Comparison
from edgenet.results.compare_plots import draw
from edgenet.results.compare_report import compare_html
from edgenet.results.compare_trials import Step, Trial
from edgenet.results.figures import picture

MANY = 24


def trial(number: int, rounds: int = 2) -> Trial:
    steps = tuple(
        Step(round=n, train_s=n * (1.0 + number), sent_bytes=n * 10**6 * (1 + number),
             energy_j=n * (3.0 + number), accuracy=0.3 + 0.02 * number)
        for n in range(1, rounds + 1)
    )  # fmt: skip
    last = steps[-1]
    return Trial(
        scheme=f"s{number}", seed=1, folder=f"runs/s{number}", steps=steps, accuracy=last.accuracy,
        wall_s=last.train_s, sent_bytes=last.sent_bytes, held_bytes=None,
        peak_node_bytes=None, energy_j=last.energy_j, carbon_g=None, train_energy_j=last.energy_j,
        train_carbon_g=None,
    )  # fmt: skip


def compared(schemes: int = MANY, rounds: int = 2) -> Comparison:
    trials = tuple(trial(number, rounds) for number in range(schemes))
    return Comparison(topology="T", schemes=tuple(t.scheme for t in trials), trials=trials,
                      target=None, baseline=None)  # fmt: skip


def test_no_colour_meets_a_shape_twice_and_no_shape_a_dash_of_its_colour() -> None:
    found = [looks.look(number) for number in range(64)]
    assert len({(each.tone, each.shape) for each in found}) == 64
    first = found[: looks.TONES * looks.DASHES]
    assert len({(each.tone, each.dash) for each in first}) == len(first)


def test_there_is_something_to_draw_for_each_look() -> None:
    assert len(figures.COLOURS) == len(figures.MARKERS) == looks.TONES
    assert len(figures.DASHES) == looks.DASHES
    drawn = {looks.mark((0, 0), looks.Look(0, shape, 0)) for shape in range(looks.TONES)}
    assert len(drawn) == looks.TONES


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The first axes of each picture of a comparison, by the picture's name."""
    kept: dict[str, Any] = {}

    @contextmanager
    def keeping(path: Path, **how: Any) -> Iterator[Any]:
        with picture(path, **how) as axes:
            kept[path.stem] = axes[0, 0]
            yield axes

    monkeypatch.setattr(compare_plots, "picture", keeping)
    draw(compared(), tmp_path)
    return kept


def test_schemes_differ_in_png(drawn: dict[str, Any]) -> None:
    curves, names = drawn["curves"].get_legend_handles_labels()
    assert names == [f"s{number}" for number in range(MANY)]
    assert len({(c.get_color(), c.get_marker(), c.get_linestyle()) for c in curves}) == MANY
    marks, names = drawn["pareto"].get_legend_handles_labels()
    assert len(names) == MANY
    assert len({(m.get_color(), m.get_marker()) for m in marks}) == MANY


def test_an_axis_of_few_decades_has_ticks_between_the_powers_of_ten(drawn: dict[str, Any]) -> None:
    axis = drawn["pareto"]
    assert axis.get_xscale() == "log"
    low, high = axis.get_xlim()
    shown = [axis.xaxis.get_major_formatter()(at) for at in axis.get_xticks() if low < at < high]
    assert {"5", "10", "20"} <= set(shown)


def entries(svg: ElementTree.Element) -> list[tuple[str, str, str]]:
    """Colour, shape and dashes of each name below a plot."""
    found, dash = [], ""
    for element, after in zip(svg, [*svg[1:], None], strict=True):
        kind = element.get("class", "")
        if element.tag == "line" and kind.startswith("series"):
            dash = kind.partition("dash")[2]
        named = after is not None and after.tag == "text" and (after.text or "").startswith("s")
        if element.tag == "path" and named:
            outline = re.sub(r"^M[-\d.,]+", "", element.get("d", ""))
            found.append((kind, outline, dash))
            dash = ""
    return found


def plots(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def test_schemes_differ_on_the_page() -> None:
    found = plots(compare_html(compared(), {}))
    assert len(found) == 6
    for svg in found:
        listed = entries(svg)
        assert len(listed) == MANY
        assert len({(tone, shape) for tone, shape, _ in listed}) == MANY
    for svg in found[:3]:  # with lines
        assert len({(tone, dash) for tone, _, dash in entries(svg)}) == MANY
        curves = [line.get("class") for line in svg.iter("polyline")]
        assert len(set(curves)) == MANY


def test_a_curve_of_many_rounds_still_has_marks() -> None:
    svg = plots(compare_html(compared(1, rounds=500), {}))[0]
    marks = [each for each in svg.iter("path") if "dot" in each.get("class", "")]
    assert 10 <= len(marks) <= 20
