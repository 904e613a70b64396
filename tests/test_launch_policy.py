"""When a run stops and how it ended, without a process or a clock."""

from __future__ import annotations

import signal

import pytest

from edgenet.launchers.policy import Limits, Referee, Seat

LEARNERS = ("learner0", "learner1")
LIMITS = Limits(notice_s=5.0, orphan_s=3.0, rest_s=4.0)


def seat(name: str, essential: bool = True, peers: tuple[str, ...] = ()) -> Seat:
    return Seat(name=name, role="any", device="host", essential=essential, peers=peers)


@pytest.fixture
def star() -> Referee:
    server = seat("server", peers=LEARNERS)
    learners = [seat(name, essential=False, peers=("server",)) for name in LEARNERS]
    return Referee(seats=[server, *learners], limits=LIMITS)


def test_all_done_ends_with_zero_and_is_never_stopped(star: Referee) -> None:
    for name in ("server", *LEARNERS):
        assert not star.over
        star.ended(name, 0, None, now=1.0)
    assert star.over
    assert not star.must_stop(now=100.0)
    assert (star.exit_code, star.culprit) == (0, None)


def test_lost_learner_is_no_reason_to_stop(star: Referee) -> None:
    star.ended("learner0", None, signal.SIGKILL, now=1.0)
    assert not star.must_stop(now=1000.0)
    assert star.culprit is None
    star.ended("server", 0, None, now=1001.0)
    star.ended("learner1", 0, None, now=1001.0)
    assert star.exit_code == 0


def test_failed_server_leaves_the_others_time_to_notice(star: Referee) -> None:
    star.ended("server", 3, None, now=10.0)
    assert star.culprit == "server"
    assert not star.must_stop(now=14.9)
    assert star.must_stop(now=15.0)
    assert not star.must_stop(now=16.0), "the order is given once"
    assert star.exit_code == 3


def test_what_ends_after_the_stop_is_not_to_blame() -> None:
    referee = Referee(seats=[seat("a"), seat("b")], limits=LIMITS)
    referee.ended("b", 3, None, now=0.0)
    assert referee.must_stop(now=5.0)
    referee.ended("a", None, signal.SIGTERM, now=5.1)
    assert referee.culprit == "b"


def test_rest_is_stopped_when_the_essential_nodes_are_done(star: Referee) -> None:
    star.ended("server", 0, None, now=10.0)
    star.ended("learner0", 0, None, now=10.1)
    assert not star.must_stop(now=13.9)
    assert star.must_stop(now=14.0)
    star.ended("learner1", None, signal.SIGKILL, now=16.0)
    assert star.exit_code == 0


def test_server_that_outlives_all_its_failed_peers_hangs(star: Referee) -> None:
    star.ended("learner0", 3, None, now=1.0)
    star.ended("learner1", 3, None, now=7.0)
    assert not star.must_stop(now=9.9)
    assert star.culprit is None
    assert star.must_stop(now=10.0)
    assert (star.culprit, star.exit_code) == ("server", 3)


def test_server_may_work_on_after_its_peers_are_done(star: Referee) -> None:
    star.ended("learner0", 0, None, now=1.0)
    star.ended("learner1", 3, None, now=1.0)
    assert not star.must_stop(now=1000.0)


def test_node_without_peers_never_hangs() -> None:
    referee = Referee(seats=[seat("alone")], limits=LIMITS)
    assert not referee.must_stop(now=1e9)


def test_interrupt_ends_with_130_unless_a_node_had_failed(star: Referee) -> None:
    star.interrupt()
    for name in ("server", *LEARNERS):
        star.ended(name, 130, None, now=1.0)
    assert (star.exit_code, star.culprit) == (130, None)
    failed = Referee(seats=[seat("a")], limits=LIMITS)
    failed.ended("a", 3, None, now=0.0)
    failed.interrupt()
    assert failed.exit_code == 3


def test_interrupt_after_the_work_was_done_is_still_done(star: Referee) -> None:
    star.ended("server", 0, None, now=1.0)
    star.interrupt()
    assert star.exit_code == 0


@pytest.mark.parametrize(
    ("code", "number", "text"),
    [(3, None, "ended with exit code 3"), (None, signal.SIGKILL, "was killed by SIGKILL")],
)
def test_end_reads_as_a_clause(
    star: Referee, code: int | None, number: int | None, text: str
) -> None:
    assert str(star.ended("server", code, number, now=0.0)) == text
