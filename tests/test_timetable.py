"""The order of work over many numbers of stages, windows and mini-batches; and when it is wrong."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from edgenet.errors import InputError
from edgenet.schemes.clock import Costs, best_windows, draw, length_s, times
from edgenet.schemes.timetable import (
    BACKWARD,
    FORWARD,
    SLIDING,
    SPLITTING,
    UPDATE,
    Action,
    Timetable,
    sliding,
    spread,
    timetable,
)

SIZES = list(itertools.product((1, 2, 3, 4, 5), (1, 2, 3, 4, 6), (1, 2, 5, 9)))


def make(scheme: str, stages: int, window: int, batches: int) -> Timetable:
    """As a run would make it; the last mini-batch is smaller."""
    if scheme == "model-parallel":
        window = 1
    parts = [window] * (batches - 1) + [max(1, window - 1)]
    return timetable(
        scheme, spread(stages, window), parts if scheme in SPLITTING else [1] * batches
    )


@pytest.mark.parametrize("scheme", [*SLIDING, *SPLITTING])
def test_every_timetable_can_be_carried_out_and_is_complete(scheme: str) -> None:
    for stages, window, batches in SIZES:
        table = make(scheme, stages, window, batches)
        times(table)
        for row in table.stages:
            forwards = [a.unit for a in row if a.verb == FORWARD]
            assert forwards == [a.unit for a in row if a.verb == BACKWARD]
            assert len(set(forwards)) == len(forwards)
            assert [a.version for a in row if a.verb == UPDATE] == list(range(1, batches + 1))


@pytest.mark.parametrize("scheme", [s for s in (*SLIDING, *SPLITTING) if s != "greedy"])
def test_a_backward_uses_the_version_of_its_forward(scheme: str) -> None:
    for stages, window, batches in SIZES:
        for row in make(scheme, stages, window, batches).stages:
            used = {a.unit: a.version for a in row if a.verb == FORWARD}
            assert used == {a.unit: a.version for a in row if a.verb == BACKWARD}


@pytest.mark.parametrize("scheme", [*SLIDING, *SPLITTING])
def test_with_window_1_every_forward_uses_the_newest_version(scheme: str) -> None:
    for stages, _, batches in SIZES:
        for row in make(scheme, stages, 1, batches).stages:
            assert all(a.version == a.batch - 1 for a in row if a.verb == FORWARD)


def test_example_2_of_the_paper() -> None:
    """Four forwards with version t, then one new activation per weight update."""
    row = [str(action) for action in sliding(4, 7)]
    assert row[:4] == ["F1:0", "F2:0", "F3:0", "F4:0"]
    assert row[4:10] == ["B1:0", "U1:1", "F5:1", "B2:0", "U2:2", "F6:2"]
    assert row[-1] == "U7:7"


def test_pipedreams_windows_are_those_of_as_many_stages() -> None:
    assert spread(4, 4) == (4, 3, 2, 1)
    assert spread(3, 1) == (1, 1, 1)
    assert spread(1, 5) == (1,)


def test_live_versions() -> None:
    assert timetable("pipedream", (4, 4, 1), [1] * 12).live(1) == 4
    assert timetable("pipedream", (4, 4, 1), [1] * 12).live(2) == 1
    assert timetable("greedy", (4, 4, 1), [1] * 12).live(1) == 1
    for n in range(3):
        assert timetable("pipedream-2bw", (4, 3, 1), [4] * 6).live(n) <= 2
        assert timetable("gpipe", (4, 3, 1), [4] * 6).live(n) == 1


def test_a_window_that_grows_is_a_deadlock_and_the_cells_are_marked() -> None:
    with pytest.raises(InputError) as refused:
        times(timetable("pipedream", (1, 3, 1), [1] * 4))
    text = str(refused.value)
    assert "the stages wait for each other" in text
    assert "stage 1 at B1:0 waits for stage 2" in text
    assert "stage 2 at F2:0 waits for stage 1" in text
    assert ">B1:0<" in text
    assert ">F2:0<" in text
    assert text.count("<-- here") == 3


def test_versions_that_are_not_there_are_refused() -> None:
    table = timetable("pipedream", (3, 1), [1] * 5)
    with pytest.raises(InputError, match="no longer exists"):
        times(replace(table, keeps="newest"))
    first = list(table.stages[0])
    early = first.index(Action(FORWARD, 4, 0, 1))
    with pytest.raises(InputError, match="not made yet"):
        times(replace(table, stages=(_with(first, early, version=2), table.stages[1])))
    with pytest.raises(InputError, match="comes first"):
        times(replace(table, stages=(_with(first, 0, batch=2), table.stages[1])))
    back = first.index(Action(BACKWARD, 4, 0, 1))
    with pytest.raises(InputError, match="another version than F4:1"):
        times(replace(table, stages=(_with(first, back, version=3), table.stages[1])))
    update = first.index(Action(UPDATE, 1, 0, 1))
    with pytest.raises(InputError, match="makes version 1"):
        times(replace(table, stages=(_with(first, update, version=5), table.stages[1])))


def _with(row: list[Action], place: int, **change: int) -> tuple[Action, ...]:
    return (*row[:place], row[place]._replace(**change), *row[place + 1 :])


def test_the_picture_puts_actions_at_their_times() -> None:
    table = timetable("model-parallel", (1, 1), [1, 1])
    assert draw(table, starts=times(table)).splitlines() == [
        "stage 1  F1:0 .    .    B1:0 U1:1 F2:1 .    .    B2:1 U2:2",
        "stage 2  .    F1:0 B1:0 U1:1 .    .    F2:1 B2:1 U2:2",
    ]


def test_pipelining_is_quicker_and_gpipe_pays_for_its_flush() -> None:
    costs = Costs.units(3)
    alone = length_s(timetable("model-parallel", (1, 1, 1), [1] * 20), costs)
    piped = length_s(timetable("pipedream", (3, 2, 1), [1] * 20), costs)
    assert piped < alone / 2
    many = [3] * 20
    assert length_s(timetable("gpipe", (3, 3, 3), many), costs) > length_s(
        timetable("pipedream-2bw", (3, 2, 1), many), costs
    )


def test_windows_fill_behind_a_slow_link_and_not_between_busy_stages() -> None:
    even = Costs(
        forward_s=(1, 1, 1), backward_s=(2, 2, 2), update_s=(0, 0, 0), send_s=(0.1, 0.1),
        delay_s=(0.1, 0.1),
    )  # fmt: skip
    assert best_windows(4, even) == (4, 2, 1) or best_windows(4, even) == (4, 3, 1)
    slow = replace(even, send_s=(0.1, 12.0), delay_s=(0.1, 12.0))
    assert best_windows(4, slow) == (4, 4, 1)
