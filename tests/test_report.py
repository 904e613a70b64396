"""report.html: what it tells of hand-made runs, and that it is well-formed whatever they are."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import START_S, Writer, about, fedavg

from edgenet.cli.main import main
from edgenet.meters import Journal
from edgenet.results.compare import Comparison
from edgenet.results.compare_plots import draw
from edgenet.results.compare_report import compare_html
from edgenet.results.compare_trials import Step, Trial
from edgenet.results.details import gather
from edgenet.results.events import run_events
from edgenet.results.happened import Happening, happenings
from edgenet.results.network import links_of, rate
from edgenet.results.rundir import write_json
from edgenet.results.tally import Tally
from edgenet.results.write import write_all

_VOID = {"meta", "br", "wbr"}


class Checker(HTMLParser):
    """Fails on tags that cross, and gathers what the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.numbers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.loads += [str(known[key]) for key in ("src", "href", "srcset") if key in known]
        keys = ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height", "points")
        self.numbers += [str(known[key]) for key in keys if key in known]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def checked(page: str) -> str:
    """The page, once it is known to be whole and to need nothing else."""
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert checker.loads == []
    assert not re.search(r"nan|inf", " ".join(checker.numbers))
    assert "<script" not in page
    return page


def page_of(path: Path) -> str:
    write_all(path)
    return checked((path / "report.html").read_text(encoding="utf-8"))


def links(learners: int) -> list[dict[str, Any]]:
    ends = [f"learner{i}" for i in range(learners)]
    ways = [
        {"source": a, "target": b, "rate_bps": 2e7, "delay_s": 0.003}
        for end in ends
        for a, b in ((end, "server"), ("server", end))
    ]
    return [
        {"name": "air", "profile": "wifi", "ends": ends, "base": "server", "shared": True,
         "ways": ways}
    ]  # fmt: skip


def probed(off: list[str]) -> dict[str, Any]:
    asked = {"goodput_bps": 1.9e7, "round_trip_s": 0.006}
    found = {"goodput_bps": 1.25e7, "round_trip_s": 0.0071}
    row = {"source": "learner0", "target": "server", "over": "air", "asked": asked,
           "measured": found, "off": off, "note": ""}  # fmt: skip
    return {"rows": [row], "refused": "", "tolerance": 0.1, "seconds": 1.0}


def test_the_network_shows_what_was_asked_and_measured(tmp_path: Path) -> None:
    fedavg(tmp_path)
    write_json(tmp_path / "run.json", about(2, links=links(2), probe=probed(["goodput"])))
    page = page_of(tmp_path)
    assert "12.5 of 20 Mbit/s" in page
    assert "7.1 ms" in page
    assert 'class="link off"' in page


def test_without_a_probe_the_page_says_so(tmp_path: Path) -> None:
    fedavg(tmp_path)
    write_json(tmp_path / "run.json", about(2, links=links(2)))
    page = page_of(tmp_path)
    assert "not probed (--probe does)" in page
    assert 'class="link off"' not in page


def test_every_section_and_unit_is_there(tmp_path: Path) -> None:
    fedavg(tmp_path, lost="learner1")
    (tmp_path / "topology.yaml").write_text("name: quickstart # <tag>\n")
    more = {"command": ["/x/edgenet/__main__.py", "run", "my file.yaml"], "notes": ["Use < this."],
            "versions": {"torch": "9.9"}, "host": {"name": "desk", "cpus": 4},
            "git": {"revision": "abc123", "changed": True}}  # fmt: skip
    write_json(tmp_path / "run.json", about(2, links=links(2), **more))
    page = page_of(tmp_path)
    for wanted in (
        "accuracy (%)", "loss (nats)", "memory (MB)", "joules", "seconds", ">kB<", "CO2",
        "Who did what in each round", "weights", "evaluation (testbed only)",
        "closed the connection",
        "edgenet run &#x27;my file.yaml&#x27;", "torch 9.9", "desk", "abc123 with changes",
        "Use &lt; this.", "# &lt;tag&gt;", "prefers-color-scheme: dark", "@media print",
    ):  # fmt: skip
        assert wanted in page, wanted


def test_a_host_that_was_too_busy_is_told_of_and_times_are_readable(tmp_path: Path) -> None:
    writer = fedavg(tmp_path)
    write_json(tmp_path / "run.json", about(2, started="2026-11-21T16:11:55+0000"))
    writer.event("learner1", "emulated", 3.9, 3, device_s=1.0, behind_s=0.04)
    page = page_of(tmp_path)
    assert "2026-11-21 16:11:55 +0000" in page
    assert "too busy" not in page
    writer.event("learner1", "emulated", 4.0, 3, device_s=1.0, behind_s=0.5)
    assert "This host was too busy: work took longer than on the emulated devices of learner1 " \
        "(50%)" in page_of(tmp_path)  # fmt: skip


@pytest.mark.parametrize(
    ("lengths", "chosen"),
    [
        ([3.0, 1.0], "Who did what in each round"),
        ([4.0, 1.0, 3.0, 2.0], "Rounds of median length: 3 and 4 of 4"),
        ([4.0, 1.0, 3.0, 9.0, 2.0], "Rounds of median length: 1, 3 and 5 of 5"),
    ],
)
def test_as_many_rounds_are_shorter_as_are_longer(
    tmp_path: Path, lengths: list[float], chosen: str
) -> None:
    writer, t = Writer(tmp_path), 1.0
    writer.event("server", "start", 0.0, role="server", device="host")
    for number, length in enumerate(lengths, start=1):
        writer.span("server", "compute", t, length / 2, number)
        t += length
        writer.event("server", "round", t, number, loss=1.0)
    assert f"<h2>{chosen}</h2>" in page_of(tmp_path)


def test_a_medium_is_a_medium_with_its_name(tmp_path: Path) -> None:
    fedavg(tmp_path)
    for kind, said in ((None, "wifi shared medium"), ("wifi 802.11n shared medium",) * 2):
        told = [{**link, **({"kind": kind} if kind else {})} for link in links(2)]
        write_json(tmp_path / "run.json", about(2, links=told))
        page = page_of(tmp_path)
        assert f"<td>{said}</td>" in page
        assert 'class="medium" points="' in page
        assert f"<title>air: {said}</title>" in page
        assert ">air (medium)</text>" in page


def test_a_round_is_drawn_with_what_each_node_did_in_it(tmp_path: Path) -> None:
    writer = fedavg(tmp_path, rounds=9)
    found = gather(Tally(run_events(writer.run)), run_events(writer.run))
    assert len(found.windows) == 3
    window = found.windows[1]
    assert window.wall_s == pytest.approx(1.0)
    (computed,) = window.spans["learner0"]["compute"]  # training and slow-down, joined
    assert (computed.start_s, computed.end_s) == pytest.approx((0.1, 0.6))
    (waited,) = window.spans["server"]["wait"]
    assert (waited.start_s, waited.end_s) == pytest.approx((0.1, 0.7))
    assert len(found.memory["learner0"]) == 9


@pytest.mark.parametrize(("learners", "rounds"), [(1, 1), (2, 3), (9, 2), (100, 2)])
def test_runs_of_any_size_have_a_page(tmp_path: Path, learners: int, rounds: int) -> None:
    fedavg(tmp_path, learners=learners, rounds=rounds)
    write_json(tmp_path / "run.json", about(learners, rounds=rounds, links=links(learners)))
    page = page_of(tmp_path)
    assert ("busiest of 101" in page) == (learners == 100)
    assert page.count("<title>learner") >= learners
    drawn = 3 if rounds > 2 else rounds
    assert page.count(">server</text>") >= drawn + 2  # in every round, the network, and the times


@pytest.mark.parametrize("ends", [["a", "b"], ["a", "b", "c"]])
def test_wires_and_switches_are_drawn(tmp_path: Path, ends: list[str]) -> None:
    way = {"source": "a", "target": "b", "rate_bps": None, "delay_s": 0.0}
    wire = {"name": "sw<1>", "profile": "raw", "ends": ends, "base": None, "shared": False,
            "ways": [way]}  # fmt: skip
    nodes = {name: {"role": "worker", "device": "host"} for name in ends}
    write_json(tmp_path / "run.json", {"links": [wire], "nodes": nodes})
    page = page_of(tmp_path)
    assert "unlimited</text>" in page
    assert ">(lost)</text>" in page
    between = "a .. c (3)</td><td>each other" if len(ends) == 3 else "a</td><td>b"
    assert f"<td>{between}</td><td>unlimited</td>" in page
    assert ('class="hub"' in page) == (len(ends) == 3)
    assert "sw<1>" not in page


def test_a_failed_run_without_energy_has_a_page(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.event("server", "start", 0.0, role="server")
    writer.event("server", "end", 1.0, status="failed", error="out of <memory>", code=3)
    write_json(writer.run.run_json, {"error": "node 'server' failed", "exit_code": 3})
    page = page_of(tmp_path)
    assert "out of &lt;memory&gt;" in page
    assert "node &#x27;server&#x27; failed" in page
    assert "No node's power is known" in page


def test_rates_have_three_figures() -> None:
    assert [rate(v) for v in (None, 999.0, 5e3, 9.7e7, 1.26e9, float("inf"))] == [
        "-", "999 bit/s", "5 kbit/s", "97 Mbit/s", "1.26 Gbit/s", "unlimited",
    ]  # fmt: skip
    assert links_of({}) == []


def test_report_writes_the_page_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fedavg(tmp_path)
    assert main(["report", "--open", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'report.html'}\n"
    checked((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert main(["report", str(tmp_path / "nodes")]) == 2
    assert "no run.json" in capsys.readouterr().err


def trial(scheme: str, seed: int, accuracies: list[float], energy_j: float | None) -> Trial:
    steps = tuple(
        Step(round=n, train_s=2.0 * n, sent_bytes=10**6 * n, energy_j=energy_j, accuracy=accuracy)
        for n, accuracy in enumerate(accuracies, 1)
    )
    return Trial(
        scheme=scheme, seed=seed, folder=f"runs/{scheme}-{seed}", steps=steps,
        accuracy=accuracies[-1], wall_s=9.0, sent_bytes=10**6 * len(steps), held_bytes=None,
        peak_node_bytes=None, energy_j=energy_j, carbon_g=None, train_energy_j=energy_j,
        train_carbon_g=None,
    )  # fmt: skip


def compared(energy_j: float | None) -> Comparison:
    trials = [trial(scheme, seed, [0.3, last], energy_j)
              for scheme, last in (("psl<", 0.5), ("fedavg", 0.7)) for seed in (1, 2)]  # fmt: skip
    return Comparison(topology="T & Co", schemes=("psl<", "fedavg", "never"), trials=tuple(trials),
                      target=0.6, baseline=0.1)  # fmt: skip


@pytest.mark.parametrize("energy_j", [None, 5.0])
def test_a_comparison_has_a_page(energy_j: float | None) -> None:
    about = {"command": ["edgenet", "compare", "T"], "versions": {"torch": "9.9"}}
    page = checked(compare_html(compared(energy_j), about))
    assert "<b>70.0 \u00b1 0.0</b>" in page
    assert "<b>50.0 \u00b1 0.0</b>" not in page
    assert "psl&lt;" in page
    assert "psl<" not in page
    assert "edgenet compare T" in page
    for axis in ("training time (s)", "sent over all links (MB)", "test accuracy (%)"):
        assert axis in page
    assert ("energy (J): fedavg" in page) == (energy_j is not None)


def test_long_names_of_schemes_may_be_broken_between_their_keys() -> None:
    name = "sglr:phi=0.5:alpha=<1>"
    of = Comparison(topology="T", schemes=(name,), trials=(trial(name, 1, [0.5], None),),
                    target=None, baseline=None)  # fmt: skip
    page = checked(compare_html(of, {}))
    assert page.count("<td>sglr:<wbr>phi=0.5:<wbr>alpha=&lt;1&gt;</td>") == 2  # table, and runs


def test_report_of_a_comparison_reads_what_it_left_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fedavg(tmp_path / "runs" / "one")
    about = {"topology": "T", "schemes": {"fedavg": {}}, "target": 0.7, "baseline": None,
             "command": ["edgenet", "compare", "T"]}  # fmt: skip
    write_json(tmp_path / "compare.json", about)
    table = "scheme,seed,folder\nfedavg,7,elsewhere/runs/one\n"
    (tmp_path / "compare.csv").write_text(table, encoding="utf-8")
    assert main(["report", str(tmp_path)]) == 0
    assert str(tmp_path / "report.html") in capsys.readouterr().out
    page = checked((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "<b>80.0</b>" in page
    assert "edgenet compare T" in page


def test_what_happened_is_marked_on_the_curves(tmp_path: Path) -> None:
    writer = fedavg(tmp_path, lost="learner1")
    journal = Journal(writer.run.events_file)
    journal.event(
        "change", t=START_S + 3.25, what="cut", target="air", says="air <is> cut", by="hand"
    )
    journal.close()
    page = page_of(tmp_path)
    assert page.count('class="event fault"') == page.count('class="event change"') == 3
    assert "<title>2.5 s: learner1 lost</title>" in page
    assert "<title>3.2 s: air &lt;is&gt; cut, by hand</title>" in page
    assert "full lines are faults; dashed lines are events and orders" in page


def test_things_happen_at_their_place_in_the_rounds() -> None:
    rounds = [{"round": n, "t_s": 10.0 + n, "wall_s": 1.0} for n in (1, 2, 3)]
    faults = [{"t_s": t_s, "peer": "a", "what": "lost"} for t_s in (0.0, 10.5, 12.25, 99.0)]
    placed = [each.round for each in happenings({"faults": faults}, rounds)]
    assert placed == [0.0, 0.5, 2.25, 3.0]
    assert [each.round for each in happenings({"faults": faults[:1]}, [])] == [0.0]


def test_a_comparison_rings_the_rounds_in_which_something_happened(tmp_path: Path) -> None:
    lost = Happening(round=1.5, t_s=3.0, kind="fault", says="a lost")
    struck = dataclasses.replace(trial("psl<", 1, [0.3, 0.5], None), happened=(lost,))
    of = dataclasses.replace(compared(None), trials=(struck,))
    page = checked(compare_html(of, {}))
    assert page.count('class="ring"') == 2
    assert "psl&lt;, round 2: a lost" in page
    assert "Rings: rounds" in page
    assert "Rings: rounds" not in compare_html(compared(None), {})
    draw(of, tmp_path)
    ringed = (tmp_path / "curves.png").read_bytes()
    draw(dataclasses.replace(of, trials=(trial("psl<", 1, [0.3, 0.5], None),)), tmp_path)
    assert (tmp_path / "curves.png").read_bytes() != ringed
