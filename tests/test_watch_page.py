"""The live page in a real browser, on a real run."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import COVERING, Tab, browser
from facilities import needs
from synthetic_run import START_S, Writer, about
from test_web import connections, going, links  # noqa: F401 (going: a fixture)

from edgenet.cli.watch import listening
from edgenet.results.rundir import write_json
from edgenet.web.server import Server

pytestmark = [pytest.mark.processes, needs("chromium")]

TOPOLOGY = """\
name: cell
nodes: {server: {}, learner: {count: 3}}
links: {air: {rate: 20 Mbit, delay: 2 ms, base: server, members: learner}}
train: {scheme: fedavg, model: two-nn-small, data: {name: digits, train: 120, test: 60},
        rounds: 100000, batch: 20, lr: 0.1}
faults: {silence: 20 s, quorum: 0.3}
seed: 7
"""


class Watched:
    """`edgenet run --watch`, and the address of its page."""

    def __init__(self, folder: Path) -> None:
        (folder / "cell.yaml").write_text(TOPOLOGY, encoding="utf-8")
        start = [sys.executable, "-m", "edgenet", "run", str(folder / "cell.yaml"), "--watch"]
        self.process = subprocess.Popen(
            [*start, "--out", str(folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        said = ""
        while not (found := re.search(r"watch: (http://\S+)", said)):
            said = self.process.stderr.readline()
            assert said, "the run does not start"
        self.url = found[1]

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=30)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return self.process.returncode


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    run = Watched(tmp_path_factory.mktemp("watched"))
    yield run
    if run.process.poll() is None:
        run.end()


@pytest.fixture
def tab() -> Iterator[Tab]:
    with browser() as found:
        yield found


def pictured(tab: Tab, name: str) -> None:
    """Keep a picture for people, where they ask for it: EDGENET_PICTURES=folder."""
    folder = os.environ.get("EDGENET_PICTURES")
    if folder:
        tab.picture(Path(folder) / f"{name}.png")


ROW = "document.querySelector('[data-node={}]')"


def test_the_page_shows_the_run_without_a_complaint(watched: Watched, tab: Tab) -> None:
    tab.open(watched.url)
    tab.until("document.querySelectorAll('#log .round').length > 3")
    states = tab.value("[...document.querySelectorAll('.chip')].map(chip => chip.textContent)")
    assert len(states) == 4
    assert set(states) <= {"computing", "waiting", "sending", "evaluating", "connecting"}
    assert tab.value("document.querySelectorAll('#network .dot').length") == 4
    assert tab.value("document.querySelectorAll('#network .lane').length") == 6
    tab.until("document.querySelectorAll('#network .busy, #network .full').length > 0")
    assert tab.value("document.querySelectorAll('.curves path.series').length") == 3
    assert "Training loss (nats)" in tab.value("document.body.innerText")
    assert tab.value(OVERLAPS) == []
    assert tab.complaints == []
    pictured(tab, "watch-1280")


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_is_wide_enough(watched: Watched, tab: Tab, dark: bool) -> None:
    tab.open(watched.url, width=390, height=844, dark=dark)
    tab.until("document.querySelectorAll('#log .round').length > 3")
    assert tab.too_wide == 0
    heights = tab.value("[...document.querySelectorAll('#nodes button')].map(b => b.offsetHeight)")
    assert min(heights) >= 36
    assert tab.complaints == []
    pictured(tab, f"watch-390{'-dark' * dark}")


def test_a_link_is_degraded_and_restored_with_the_keyboard(watched: Watched, tab: Tab) -> None:
    tab.open(watched.url)
    tab.until("document.querySelector('[data-link=air] button:enabled') !== null")
    tab.value("document.querySelector('[data-link=air] button').focus()")
    tab.press("Enter")
    tab.until("document.activeElement.name === 'rate'")
    tab.call("Input.insertText", text="fast")
    tab.press("Enter")
    tab.until("document.getElementById('degrade-refused').textContent.includes('bad rate')")
    tab.value("document.activeElement.select()")
    tab.call("Input.insertText", text="5 Mbit")
    tab.press("Enter")
    tab.until("document.querySelector('.link.degraded .status') !== null")
    assert "5 Mbit/s" in tab.value("document.querySelector('.link .status').textContent")
    tab.until("document.querySelectorAll('.curves .mark.change').length === 3")
    tab.value("document.querySelector('[data-link=air] button:last-child').click()")
    tab.until("document.querySelector('.link.degraded') === null")
    assert tab.complaints == []


def test_kill_asks_once_more_and_kills(watched: Watched, tab: Tab) -> None:
    tab.open(watched.url)
    kill = ROW.format("learner2") + ".querySelector('[data-kill]')"
    tab.until(f"{ROW.format('learner2')} !== null && !{kill}.disabled")
    tab.value(f"{kill}.focus(); {kill}.click()")
    assert tab.value(f"{kill}.textContent") == "Kill learner2?"
    tab.value(f"{kill}.click()")
    chip = ROW.format("learner2") + ".querySelector('.chip').textContent"
    tab.until(f"{chip} === 'lost'")
    tab.until("document.getElementById('log').innerText.includes('learner2 is killed, by hand')")
    assert tab.value(f"{kill}.disabled")
    assert tab.complaints == []
    pictured(tab, "watch-killed")


def torn(server: Server) -> None:
    """Cut all connections of a server."""
    for each in connections(server):
        each.loop.call_soon_threadsafe(each.transport.abort)


def test_a_page_that_lost_its_connection_comes_back_by_itself(going: Writer, tab: Tab) -> None:  # noqa: F811
    rounds = "[...document.querySelectorAll('#log .round .what')].map(each => each.textContent)"
    with Server(going.run, listening(0)) as server:
        tab.open(server.url)
        tab.until(f"{rounds}.length === 1")
        tab.value("""window.said = []; new MutationObserver(() =>
          window.said.push(document.getElementById('live').textContent)).observe(
          document.getElementById('live'), {childList: true}); true""")
        for lap in range(2):
            torn(server)
            for number in range(2 + 3 * lap, 5 + 3 * lap):
                going.event("server", "round", 1.0 + number, number, loss=1.0 / number)
            tab.until(f"{rounds}.length >= {4 + 3 * lap}")
        assert [words.split(":")[0] for words in tab.value(rounds)] == [
            f"round {number}" for number in range(1, 8)
        ]
        assert tab.value("window.said") == ["not connected; trying again", ""] * 2


@pytest.mark.parametrize("width", [1280, 390])
def test_a_run_without_orders_shows_no_buttons(going: Writer, tab: Tab, width: int) -> None:  # noqa: F811
    write_json(going.run.run_json, about(2, links=links(2), launcher="torchrun"))
    shown = "[...document.querySelectorAll('main button')].filter(b => b.offsetParent).length"
    with Server(going.run, listening(0)) as server:
        tab.open(server.url, width=width)
        tab.until("document.getElementById('no-orders').innerText.includes('started by torchrun')")
        assert tab.value("document.querySelectorAll('#nodes tbody tr').length") == 3
        assert (tab.value(shown), tab.too_wide) == (0, 0)
        assert tab.complaints == []
        pictured(tab, f"watch-no-orders-{width}")


LONGEST = """for (const [kind, words] of [['rate', '\u2192 88.8 Mbit/s'], ['state', 'interrupted']])
  document.querySelectorAll(`#network .${kind}`).forEach(each => each.textContent = words);
"""
MEDIA = "[...document.querySelectorAll('#network .link-name')].map(each => each.textContent)"
OVERLAPS = (
    COVERING
    + """([
  ...[...document.querySelectorAll('#network text')].filter(each => each.textContent),
  ...document.querySelectorAll('#network .dot, #network .hub')])"""
)


def chain_of_wires(nodes: int) -> list[dict[str, Any]]:
    """learner0 - server - learner1 - learner2 ..., as run.json has it."""
    names = ["learner0", "server", *(f"learner{n}" for n in range(1, nodes - 1))]
    return [{"name": f"wire{n}", "profile": "raw", "ends": [a, b], "base": None, "shared": False,
             "ways": [{"source": x, "target": y, "rate_bps": 1e6, "delay_s": 0.0}
                      for x, y in ((a, b), (b, a))]}
            for n, (a, b) in enumerate(itertools.pairwise(names))]  # fmt: skip


def test_no_words_of_the_drawing_cover_others(tmp_path: Path, tab: Tab) -> None:
    networks = [(links(count), ["air (medium)"]) for count in (2, 5, 7)]
    networks += [(chain_of_wires(count), []) for count in (3, 4)]
    for number, (drawn, media) in enumerate(networks):
        ways = sum(len(link["ways"]) for link in drawn)
        writer = Writer(tmp_path / str(number))
        write_json(writer.run.run_json, about(ways // 2, links=drawn))
        writer.event("server", "start", time.time() - START_S, role="server", device="host")
        with Server(writer.run, listening(0)) as server:
            for width in (1280, 390):
                tab.open(server.url, width=width)
                tab.until(f"document.querySelectorAll('#network .rate').length === {ways}")
                assert tab.value(LONGEST + OVERLAPS) == []
                assert tab.value(MEDIA) == media
                pictured(tab, f"watch-network-{number}-{width}")
    assert tab.complaints == []


def test_the_page_outlives_the_run(watched: Watched, tab: Tab) -> None:
    tab.open(watched.url)
    tab.until("document.querySelectorAll('#log .round').length > 3")
    assert watched.end() == 130
    tab.until("document.getElementById('outcome').textContent === 'interrupted'")
    assert tab.value("document.querySelectorAll('#log .round').length") > 3
    assert tab.value("document.querySelectorAll('td.act:not([hidden])').length") == 0
    pictured(tab, "watch-over")
