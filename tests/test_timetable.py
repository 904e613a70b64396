"""The order of work over many numbers of stages, windows and mini-batches; and when it is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
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

PIPELINES = (*SLIDING, *SPLITTING)
EPOCHS = ([4], [1], [9, 9], [9, 9, 9, 9, 1] * 2, [1] * 6, [2, 9, 1, 1, 7, 3], [4, 4, 3])
"""Samples of each mini-batch: of whole epochs, with a smaller last one, and with one of one."""
SIZES = list(itertools.product((1, 2, 3, 4, 5), range(1, 9), EPOCHS))


def make(scheme: str, windows: Sequence[int], samples: Sequence[int]) -> Timetable:
    """As a run would make it: a mini-batch is cut into no more parts than it has samples."""
    most = max(windows) if scheme in SPLITTING else 1
    return timetable(scheme, windows, [min(most, size) for size in samples])


def falling(scheme: str, stages: int, window: int) -> list[tuple[int, ...]]:
    """Windows of the stages: falling evenly, and all of them full behind a slow last link."""
    if scheme == "model-parallel" or stages == 1:
        return [(1,) * stages]
    return [spread(stages, window), (*(window,) * (stages - 1), 1)]


@pytest.mark.parametrize("scheme", PIPELINES)
def test_every_timetable_can_be_carried_out_and_is_complete(scheme: str) -> None:
    """And a backward uses the version of its forward."""
    for stages, window, samples in SIZES:
        for windows in falling(scheme, stages, window):
            table = make(scheme, windows, samples)
            times(table)
            for row in table.stages:
                used = {a.unit: a.version for a in row if a.verb == FORWARD}
                answered = {a.unit: a.version for a in row if a.verb == BACKWARD}
                assert answered == used or (scheme == "greedy" and answered.keys() == used.keys())
                assert [a.version for a in row if a.verb == UPDATE] == [*range(1, len(samples) + 1)]
                assert sum(a.verb == FORWARD for a in row) == len(used)


def test_under_2bw_a_mini_batch_uses_the_version_before_the_last_at_every_stage() -> None:
    """However short the mini-batches are for the window; what may be under way is."""
    for stages, window, samples in SIZES:
        for windows in falling("pipedream-2bw", stages, window):
            delay = 1 if max(windows) > 1 else 0
            for row in make("pipedream-2bw", windows, samples).stages:
                uses = {(a.batch, a.version) for a in row if a.verb != UPDATE}
                assert uses == {(k, max(0, k - 1 - delay)) for k, _ in enumerate(samples, start=1)}
    first = make("pipedream-2bw", (6, 1), [1] * 4).stages[0]
    assert list(map(str, first[:5])) == ["F1:0", "F2:0", "B1:0", "U1:1", "F3:1"]
    first = make("pipedream-2bw", (3, 1), [3] * 4).stages[0]
    assert list(map(str, first[:6])) == ["F1.1:0", "F1.2:0", "F1.3:0", "B1.1:0", "F2.1:0", "B1.2:0"]


@pytest.mark.parametrize("scheme", PIPELINES)
def test_with_window_1_every_forward_uses_the_newest_version(scheme: str) -> None:
    for stages, samples in itertools.product((1, 2, 5), EPOCHS):
        for row in make(scheme, (1,) * stages, samples).stages:
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
