"""Device slow-down: on a clock of our own, to the digit; once on the real one, with tolerance."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from edgenet.devices import clock as device_clock
from edgenet.devices.clock import BURST_S, DeviceClock
from edgenet.errors import InputError, LinkTimeout
from edgenet.links.memory import link_pair
from edgenet.links.protocol import Kind
from edgenet.links.shared import Shared
from edgenet.meters.journal import Journal
from edgenet.models.calibrate import calibrate
from edgenet.models.throttle import Throttled, slowdown


class Clock:
    """Stands for the module `time`: work and sleep move it on; a busy host adds waiting."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self.slept: list[float] = []
        self.late = 0.0

    def perf_counter(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.wall

    def thread_time(self) -> float:
        return self.cpu

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.wall += seconds + self.late

    def work(self, cpu: float, waiting: float = 0.0) -> None:
        self.cpu += cpu
        self.wall += cpu + waiting


class Worker:
    """A stage whose every verb takes the given time on the clock."""

    names: tuple[str, ...] = ("w",)

    def __init__(self, clock: Clock, cpu: float, waiting: float = 0.0) -> None:
        self.clock, self.cpu, self.waiting = clock, cpu, waiting
        self.called: list[str] = []

    def _do(self, verb: str) -> None:
        self.called.append(verb)
        self.clock.work(self.cpu, self.waiting)

    def forward(self, x: Tensor) -> Tensor:
        self._do("forward")
        return x + 1

    def backward(self, error: Tensor) -> Tensor:
        self._do("backward")
        return error + 2

    def step(self) -> None:
        self._do("step")

    def infer(self, x: Tensor) -> Tensor:
        self._do("infer")
        return x + 3

    def state(self) -> list[Tensor]:
        return [torch.ones(1)]

    def load(self, state: list[Tensor]) -> None:
        self.called.append(f"load {state[0].item()}")

    def pull(self, anchor: list[Tensor], mu: float) -> None:
        self.called.append(f"pull {mu}")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(device_clock, "time", clock)
    return clock


def test_the_device_takes_factor_times_the_cpu_time(clock: Clock) -> None:
    stage = Throttled(Worker(clock, cpu=0.1), 4, Journal())
    stage.step()
    assert clock.wall == pytest.approx(0.4)
    stage.forward(torch.zeros(1))
    assert clock.wall == pytest.approx(0.8)


def test_waiting_for_a_core_is_not_work_of_the_device(clock: Clock) -> None:
    stage = Throttled(Worker(clock, cpu=0.1, waiting=0.2), 4, Journal())
    stage.step()
    assert clock.slept == [pytest.approx(0.1)]
    assert clock.wall == pytest.approx(0.4)


def test_late_wake_ups_and_crowded_cores_are_made_good_for(clock: Clock) -> None:
    clock.late = 0.004
    device = DeviceClock()
    stage = Throttled(Worker(clock, cpu=0.01), 3, Journal(), clock=device)
    for _ in range(10):
        stage.step()
    device.settle(Journal())
    assert clock.wall == pytest.approx(0.3, abs=0.005)


def test_a_long_stall_is_not_made_good_for(clock: Clock) -> None:
    worker = Worker(clock, cpu=0.1, waiting=60)
    device = DeviceClock()
    stage = Throttled(worker, 2, Journal(), clock=device)
    stage.step()
    assert clock.slept == []
    assert device.behind_s == pytest.approx(60.1 - 0.2 - 0.1)
    worker.waiting = 0
    start = clock.wall
    stage.step()
    assert clock.wall - start == pytest.approx(0.1)  # 0.2, less the longest credit
    assert device.device_s == pytest.approx(0.4)


def test_small_work_is_waited_for_in_bursts(clock: Clock) -> None:
    """The clock of the device is right all the time; the wall's when the burst is over."""
    device, worker = DeviceClock(), Worker(clock, cpu=BURST_S / 4)
    stage = Throttled(worker, 3, Journal(), clock=device)
    for verbs in range(1, 4):
        stage.step()
        assert clock.slept == []
        assert device.now() == pytest.approx(verbs * 3 * BURST_S / 4)
    stage.step()
    assert clock.wall == device.now() == pytest.approx(3 * BURST_S)


def test_what_lies_between_two_verbs_is_the_devices_work_too(clock: Clock) -> None:
    device = DeviceClock()
    stage = Throttled(Worker(clock, cpu=0.001), 3, Journal(), clock=device)
    stage.forward(torch.zeros(1))
    clock.work(0.002)  # a loss
    stage.backward(torch.zeros(1))
    device.settle(Journal())
    assert clock.wall == pytest.approx(3 * 0.004)


def test_an_evaluation_is_not(clock: Clock) -> None:
    device = DeviceClock()
    stage = Throttled(Worker(clock, cpu=0.001), 3, Journal(), clock=device)
    stage.step()
    stage.infer(torch.zeros(1))
    clock.work(0.002)
    device.forget()
    stage.step()
    assert device.now() - clock.wall == pytest.approx(2 * 2 * 0.001)


def test_messages_leave_when_the_device_has_got_so_far(clock: Clock) -> None:
    shared = Shared()
    stage = Throttled(Worker(clock, cpu=0.001), 5, shared.journal, clock=shared.clock)
    stage.step()
    assert clock.slept == []
    shared.encode((1,), Kind.CONTROL)
    assert clock.wall == pytest.approx(0.005)
    stage.step()
    with pytest.raises(LinkTimeout):
        link_pair(("a", "b"), (shared, Shared()))[0].recv(timeout_s=0.0)
    assert clock.wall == pytest.approx(0.01)


def test_factor_one_never_sleeps(clock: Clock) -> None:
    stage = Throttled(Worker(clock, cpu=0.1), 1, Journal())
    stage.step()
    assert clock.slept == []


def test_at_factor_one_no_cpu_time_is_read_unless_the_device_changes(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[float] = []
    monkeypatch.setattr(clock, "thread_time", lambda: read.append(clock.cpu) or clock.cpu)
    Throttled(Worker(clock, cpu=0.1), 1, Journal()).step()
    assert not read
    Throttled(Worker(clock, cpu=0.1), 1, Journal(), lambda: 3.0).step()
    assert clock.slept == [pytest.approx(0.2)]


def test_everything_is_passed_on(clock: Clock) -> None:
    worker = Worker(clock, cpu=0.1)
    stage = Throttled(worker, 2, Journal())
    assert stage.forward(torch.zeros(1)).item() == 1
    assert stage.backward(torch.zeros(1)).item() == 2
    slept = len(clock.slept)
    assert stage.infer(torch.zeros(1)).item() == 3
    assert len(clock.slept) == slept
    assert stage.state()[0].item() == 1
    assert stage.names == ("w",)
    stage.load([torch.full((1,), 5.0)])
    stage.pull([], 0.5)
    assert worker.called == ["forward", "backward", "infer", "load 5.0", "pull 0.5"]


def test_spans_tell_work_from_emulation(clock: Clock, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    Throttled(Worker(clock, cpu=0.1), 5.0, journal).forward(torch.zeros(1))
    journal.close()
    events = list(map(json.loads, (tmp_path / "events.jsonl").read_text().splitlines()))
    assert [(e["e"], e["k"], e["n"]) for e in events] == [
        ("span", "compute", "forward"),
        ("span", "idle", "slowdown"),
    ]
    assert events[1]["t"] >= events[0]["t"] + events[0]["d"] - 1e-3


def test_a_failing_stage_is_metered_and_not_slept_for(clock: Clock, tmp_path: Path) -> None:
    class Broken(Worker):
        def step(self) -> None:
            self.clock.work(1.0)
            raise ValueError("out of order")

    journal = Journal(tmp_path / "events.jsonl")
    with pytest.raises(ValueError, match="out of order"):
        Throttled(Broken(clock, 1.0), 10, journal).step()
    journal.close()
    assert clock.slept == []
    assert '"n":"step"' in (tmp_path / "events.jsonl").read_text()


def test_real_time_is_factor_times_the_cpu_time() -> None:
    """On the real clock; a crowded host can only make it longer."""

    class Busy(Worker):
        def step(self) -> None:
            until = time.thread_time() + 0.02
            while time.thread_time() < until:
                pass

    stage = Throttled(Busy(Clock(), 0.0), 5.0, Journal())
    start = time.perf_counter()
    for _ in range(5):
        stage.step()
    took = time.perf_counter() - start
    assert took >= 5 * 0.02 * 5 - device_clock._LONGEST_CREDIT_S
    assert took < 30.0


@pytest.mark.parametrize("factor", [0.5, 0.0, -1.0, float("nan"), float("inf")])
def test_impossible_factors_are_refused(factor: float) -> None:
    with pytest.raises(InputError, match="at least 1"):
        Throttled(Worker(Clock(), 0.1), factor, Journal())


@dataclass(frozen=True)
class Board:
    training_flops: float | None


def test_slowdown_compares_speeds() -> None:
    assert slowdown(20e9, Board(1e9)) == 20
    assert slowdown(20e9, Board(40e9)) == 1
    assert slowdown(20e9, Board(None)) == 1


@pytest.mark.parametrize(("host", "device"), [(0.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)])
def test_slowdown_refuses_impossible_speeds(host: float, device: float) -> None:
    with pytest.raises(InputError, match="above 0 FLOP/s"):
        slowdown(host, Board(device))


def test_calibration_is_short_repeatable_and_leaves_nothing_behind() -> None:
    torch.manual_seed(1)
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    start = time.thread_time()
    speeds = [calibrate(0.1) for _ in range(3)]
    assert time.thread_time() - start < 3.0
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads
    assert min(speeds) > 1e8
    assert max(speeds) < 4 * min(speeds)
