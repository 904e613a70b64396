"""What this machine can do for edgenet, found out by trying, with a remedy for what it cannot."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from edgenet.cli.trial import tried
from edgenet.errors import DONE, EdgenetError
from edgenet.meters import power
from edgenet.results import text
from edgenet.shaping.choice import available

OK, NOTE, FAILS = "ok", "note", "fails"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's."""

    name: str
    """What was looked at."""
    state: str
    """'ok'; 'note': something optional is not there; 'fails': edgenet does not run without it."""
    says: str
    """What was found."""
    remedy: str = ""
    """What to do about it; empty where all is well."""


EXTRAS = {
    "tensorboard": ("tensorboard",),
    "watch": ("starlette", "uvicorn"),
    "parquet": ("pyarrow",),
    "docs": ("mkdocs",),
}
"""Name of each extra -> what it brings."""

_TOPOLOGY = """\
name: checkup
nodes: {server: {}, learner: {}}
links: {wire: {between: [server, learner]}}
train: {scheme: fedavg, model: two-nn-small, data: {name: digits, train: 60, test: 60},
        rounds: 1, batch: 20, lr: 0.1}
"""
_LEAST_FILES = 1024
_SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies")
_PATIENCE_S = 20.0


def findings() -> Iterator[Finding]:
    """Every line, as soon as it is known; what must hold comes first."""
    for check in (
        _python, _memory, _files, _ports, _clock, _folder, _run, _namespaces, _back_ends, _docker,
        _cgroups, _sensor, _data, _extras,
    ):  # fmt: skip
        yield from check()


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    yield Finding("Python", OK, f"{version}, {platform.machine()}, {platform.system()}")
    names = ("torch", "torchvision", "numpy")
    try:
        told = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
        yield Finding("packages", OK, told)
    except importlib.metadata.PackageNotFoundError as error:
        yield Finding(
            "packages", FAILS, f"{error.name} is not installed", "run `pip install edgenet`"
        )


def _memory() -> Iterator[Finding]:
    memory, cores = psutil.virtual_memory(), len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    says = (
        f"{cores} cores, load {load:.1f}; {text.amount(memory.available)} of "
        f"{text.amount(memory.total)} free"
    )
    if load > cores:
        yield Finding("host", NOTE, says, "measure times on a host that does nothing else")
    else:
        yield Finding("host", OK, says)


def _files() -> Iterator[Finding]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = "no limit" if hard == resource.RLIM_INFINITY else str(hard)
    if hard != resource.RLIM_INFINITY and hard < _LEAST_FILES:
        remedy = f"raise it to {_LEAST_FILES} or more (ulimit -Hn, limits.conf)"
        yield Finding("open files", FAILS, f"at most {most} a process", remedy)
    else:
        yield Finding("open files", OK, f"at most {most} a process")


def _ports() -> Iterator[Finding]:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
            with socket.create_connection(address, timeout=_PATIENCE_S):
                yield Finding("loopback", OK, f"127.0.0.1 answers (port {address[1]})")
    except OSError as error:
        remedy = "bring the loopback up (`ip link set lo up`), and let a firewall pass 127.0.0.1"
        yield Finding("loopback", FAILS, f"no connection over 127.0.0.1: {error}", remedy)


def _clock() -> Iterator[Finding]:
    grain_s = time.get_clock_info("monotonic").resolution
    file = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    source = file.read_text(encoding="ascii").strip() if file.is_file() else "unknown"
    says = f"monotonic to {1e9 * grain_s:.0f} ns, source {source}"
    if grain_s > 1e-3 or source in _SLOW_CLOCKS:
        yield Finding("clock", NOTE, says, "times will be coarse; choose tsc or kvm-clock")
    else:
        yield Finding("clock", OK, says)


def _folder() -> Iterator[Finding]:
    try:
        with tempfile.TemporaryDirectory(dir=".", prefix=".edgenet-") as folder:
            free = shutil.disk_usage(folder).free
            says = f"{Path.cwd()} can be written, {text.amount(free)} free"
            yield Finding("folder", OK, says)
    except OSError as error:
        says = f"{Path.cwd()} cannot be written ({error.strerror})"
        yield Finding("folder", FAILS, says, "go elsewhere, or give runs another place with --out")


def _run() -> Iterator[Finding]:
    """Everything together: the fork server, two processes, gloo between them, torch, results."""
    start = time.monotonic()
    try:
        outcome = tried(_TOPOLOGY)
        error = outcome.error if outcome.exit_code != DONE else None
    except (EdgenetError, OSError) as failed:
        error = str(failed)
    if error is not None:
        remedy = "repeat it with `edgenet run topologies/quickstart.yaml` and EDGENET_DEBUG=1"
        yield Finding("two nodes", FAILS, error, remedy)
        return
    took = text.seconds(time.monotonic() - start)
    sent = text.amount(outcome.summary["bytes"]["total"])
    says = f"two processes trained a round over gloo ({sent}) in {took}, start included"
    yield Finding("two nodes", OK, says)


def _named(name: str, reason: str | None, works: str) -> Finding:
    """From a reason of `available`: 'why; what would help'."""
    if reason is None:
        return Finding(name, OK, works)
    why, _, remedy = reason.partition("; ")
    return Finding(name, NOTE, why, remedy or "see docs/networks.md")


def _namespaces() -> Iterator[Finding]:
    who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    yield _named("namespaces", available("none"), f"every node can have its own (as {who})")


def _back_ends() -> Iterator[Finding]:
    for name, works in (("netem", "htb and netem queues work"), ("relay", "/dev/net/tun works")):
        yield _named(name, available(name), works)


def _docker() -> Iterator[Finding]:
    if shutil.which("docker") is None:
        yield Finding("containers", NOTE, "docker is not installed", "install Docker and Compose")
    elif not _succeeds("docker", "info"):
        remedy = "start the engine, and join the group docker (or be root)"
        yield Finding("containers", NOTE, "no Docker engine answers", remedy)
    elif not (_succeeds("docker", "compose", "version") or shutil.which("docker-compose")):
        yield Finding("containers", NOTE, "Docker without Compose", "install docker-compose")
    else:
        yield Finding("containers", OK, "Docker and Compose answer")


def _succeeds(*command: str) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _cgroups() -> Iterator[Finding]:
    file = Path("/sys/fs/cgroup/cgroup.controllers")
    found = set(file.read_text(encoding="ascii").split()) if file.is_file() else set()
    lacking = sorted({"cpu", "memory"} - found)
    if lacking:
        says = f"cgroup v2 without {' and '.join(lacking)}" if found else "no cgroup v2"
        remedy = "containers are not held to their devices then; boot with cgroup v2 and both"
        yield Finding("cgroups", NOTE, says, remedy)
    else:
        yield Finding("cgroups", OK, "version 2 with cpu and memory")


def _sensor() -> Iterator[Finding]:
    sensor = power.find()
    if sensor is None:
        says = "no RAPL, INA3221 or Pi 5 power sensor to read: joules are modelled"
        remedy = "as root on such hardware they are measured"
        yield Finding("power sensor", NOTE, says, remedy)
    else:
        yield Finding("power sensor", OK, sensor.name)


def _data() -> Iterator[Finding]:
    from edgenet.data.catalogue import DATASETS, EMBEDDED, VARIABLE  # brings torch

    folder = os.environ.get(VARIABLE)
    if not folder:
        says = f"{VARIABLE} is not set; {', '.join(sorted(EMBEDDED))} comes along"
        remedy = f"set {VARIABLE} to a folder with MNIST/raw, EMNIST/raw, ... for the others"
        yield Finding("datasets", NOTE, says, remedy)
        return
    there = [
        name
        for name, source in DATASETS.items()
        if name not in EMBEDDED and not source.missing(Path(folder).expanduser())
    ]
    if there:
        yield Finding("datasets", OK, f"{folder}: {', '.join(there)}")
    else:
        yield Finding("datasets", NOTE, f"{folder} has none", "lay them out as torchvision does")


def _extras() -> Iterator[Finding]:
    for extra, packages in EXTRAS.items():
        lacking = [name for name in packages if importlib.util.find_spec(name) is None]
        if lacking:
            says = f"{', '.join(lacking)} not installed"
            yield Finding(f"extra {extra}", NOTE, says, f"run `pip install 'edgenet[{extra}]'`")
        else:
            yield Finding(f"extra {extra}", OK, ", ".join(packages))
