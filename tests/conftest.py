"""For every test: nothing is left running, no temporary file is left behind, no lazy skip.

`leftovers.py` fails the test that leaves something. With EDGENET_NO_SKIPS=1 (CI) a skip counts as
a failure unless the facility that it names (`facilities.py`) is missing here.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from facilities import have, unjustified
from leftovers import Leftovers


def pytest_configure(config: pytest.Config) -> None:
    """Watch over what the tests start and write."""
    leftovers = Leftovers()
    config.pluginmanager.register(leftovers, "leftovers")
    config.add_cleanup(leftovers.close)


def _fail_lazy_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or hasattr(report, "wasxfail") or not os.environ.get("EDGENET_NO_SKIPS"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    why = unjustified(reason)
    if why is not None:
        report.outcome = "failed"
        report.longrepr = f"{reason!r}: {why}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip that was not necessary into a failure."""
    report = yield
    _fail_lazy_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself."""
    report = yield
    _fail_lazy_skip(report)
    return report


@pytest.fixture
def data_root() -> Path:
    """The folder of real datasets that EDGENET_DATA names."""
    if not have("EDGENET_DATA"):
        pytest.skip("needs EDGENET_DATA")
    return Path(os.environ["EDGENET_DATA"])


@pytest.fixture
def topology_text() -> str:
    """A small valid topology, to be written to a file or changed by `str.replace`."""
    return """\
name: sample
nodes:
  server: {device: edge-server}
  learner: {device: pi4, count: 3}
links:
  air: {rate: 100 Mbit, delay: 2 ms, base: server, members: learner}
train:
  scheme: fedavg
  model: two-nn
  data: {name: digits, train: 200, test: 100}
  rounds: 2
  batch: 20
  lr: 0.1
seed: 7
"""


@pytest.fixture
def topology_file(tmp_path: Path, topology_text: str) -> Path:
    """`topology_text` as a file."""
    path = tmp_path / "sample.yaml"
    path.write_text(topology_text, encoding="utf-8")
    return path
