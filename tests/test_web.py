"""The live page's server: who may see it, what it tells, and that orders reach the run."""

from __future__ import annotations

import http.client
import importlib.util
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from synthetic_run import START_S, Writer, about, fedavg
from test_control import scripted  # noqa: F401 (a fixture)
from test_launch_events import until
from test_launch_local import Launcher

from edgenet.cli.main import main
from edgenet.cli.watch import listening
from edgenet.errors import InputError
from edgenet.launchers.control import short_name
from edgenet.meters import Journal
from edgenet.results.events import Event
from edgenet.results.network import links_of
from edgenet.results.rundir import RunDir, write_json
from edgenet.web.server import Server
from edgenet.web.state import Story
from edgenet.web.usage import Usage

WAIT_S = 30.0


def links(learners: int) -> list[dict[str, Any]]:
    """A medium of 1 Mbit/s around the server, as run.json has it."""
    names = [f"learner{n}" for n in range(learners)]
    ways = [(a, b) for name in names for a, b in ((name, "server"), ("server", name))]
    told = [{"source": a, "target": b, "rate_bps": 1e6, "delay_s": 0.0} for a, b in ways]
    return [{"name": "air", "profile": "wifi", "ends": names, "base": "server", "shared": True,
             "ways": told}]  # fmt: skip


def change(run: RunDir, t: float, **fields: Any) -> None:
    journal = Journal(run.events_file)
    journal.event("change", t=START_S + t, **fields)
    journal.close()


@pytest.fixture
def going(tmp_path: Path) -> Writer:
    """A run of two learners that is in its second round."""
    writer = Writer(tmp_path / "run")
    write_json(writer.run.run_json, about(2, links=links(2)))
    for name in ("server", "learner0", "learner1"):
        writer.event(name, "start", 0.0, role="x", device="pi4")
    writer.event("server", "round", 1.0, 1, loss=0.5, accuracy=0.7)
    writer.event("learner0", "traffic", 1.0, 1, peer="server", out=0)
    writer.event("learner0", "traffic", 2.0, 2, peer="server", out=62_500, **{"in": 0})
    return writer


def story(writer: Writer, now: float) -> dict[str, Any]:
    told = Story(writer.run, clock=lambda: START_S + now)
    told.update()
    return told.state()


def test_a_state_tells_nodes_links_curves_and_log(going: Writer) -> None:
    state = story(going, 2.5)
    assert (state["over"], state["outcome"], state["orders"]) == (False, "going on", False)
    assert state["run"]["topology"] == "quickstart"
    assert [node["name"] for node in state["nodes"]] == ["server", "learner0", "learner1"]
    assert state["nodes"][0]["state"] == "waiting"
    (air,) = state["links"]
    full = {(lane["source"], lane["target"]): lane["bps"] for lane in air["lanes"]}
    assert full == {("learner0", "server"): 500_000, ("server", "learner0"): 0,
                    ("learner1", "server"): 0, ("server", "learner1"): 0}  # fmt: skip
    assert state["rounds"]["accuracy"] == [0.7]
    assert "round 1: accuracy 0.700, loss 0.500" in [line["text"] for line in state["log"]]
    assert set(state["network"]["places"]) == {"server", "learner0", "learner1"}
    json.dumps(state, allow_nan=False)


def test_what_happened_is_marked_at_its_place_in_the_rounds(going: Writer) -> None:
    going.event("server", "round", 3.0, 2, loss=0.4, accuracy=0.8)
    change(going.run, 2.0, what="pause", target="learner1", says="learner1 is paused", by="hand")
    going.event("server", "fault", 3.5, 3, peer="learner1", what="silent", why="x")
    state = story(going, 3.6)
    assert [(mark["kind"], mark["round"], mark["says"]) for mark in state["marks"]] == [
        ("change", pytest.approx(1.5), "learner1 is paused, by hand"),
        ("fault", 2.0, "learner1 silent"),
    ]
    assert state["nodes"][2]["state"] == "paused"
    change(going.run, 3.7, what="continue", target="learner1", says="learner1 goes on")
    assert story(going, 3.8)["nodes"][2]["state"] == "connecting"


def test_a_killed_node_is_lost_at_once(going: Writer) -> None:
    change(going.run, 2.0, what="kill", target="learner0", says="learner0 is killed", by="hand")
    assert story(going, 2.1)["nodes"][1]["state"] == "lost"


def test_a_finished_run_stands_still(tmp_path: Path) -> None:
    writer = fedavg(tmp_path / "run")
    write_json(writer.run.run_json, about(2, links=links(2), exit_code=0))
    early, late = story(writer, 10.0), story(writer, 99.0)
    assert early == late
    assert (early["over"], early["outcome"]) == (True, "done")
    assert {node["state"] for node in early["nodes"]} == {"done"}
    assert early["rounds"]["bytes"] == [2 * 2 * (1000 + 1000 // 50)] * 3  # both learners, both ways


def test_what_nodes_print_is_in_the_log(going: Writer) -> None:
    going.run.log("learner0").write_text("a warning\nhalf a li", encoding="utf-8")
    lines = [(line["node"], line["text"]) for line in story(going, 2.5)["log"]]
    assert ("learner0", "a warning") in lines
    assert "half a li" not in [text for _, text in lines]


def happened(usage: Usage, what: str, nodes: tuple[str, ...] = (), **settings: float) -> None:
    fields = {
        "what": what,
        "target": "air",
        "nodes": list(nodes),
        "settings": settings,
        "says": "x",
    }
    usage.add(Event("", "change", START_S, 0, fields))


def test_a_link_carries_what_is_left_of_it() -> None:
    usage = Usage(links_of({"links": links(2)}))
    lanes = ("air", "learner0", "server"), ("air", "server", "learner1")

    def left() -> list[float]:
        return [usage.asked_bps(lane) for lane in lanes]

    assert (left(), usage.status("air")) == ([1e6, 1e6], ("", ""))
    happened(usage, "degrade", ("learner0",), factor=0.25)
    assert (left(), usage.status("air")[0]) == ([0.25e6, 1e6], "degraded")
    happened(usage, "degrade", rate_bps=2e5)
    assert left() == [2e5, 2e5]
    happened(usage, "cut", ("learner1",))
    assert (left(), usage.status("air")[0]) == ([2e5, 0], "cut")
    happened(usage, "cut")
    assert left() == [0, 0]
    happened(usage, "restore")
    assert (left(), usage.status("air")) == ([1e6, 1e6], ("", ""))


@contextmanager
def serving(run: RunDir) -> Iterator[tuple[http.client.HTTPConnection, str]]:
    """A connection to a server of the run's page, and the path of the page."""
    with Server(run, listening(0)) as server:
        host, _, path = server.url.removeprefix("http://").partition("/")
        connection = http.client.HTTPConnection(host, timeout=WAIT_S)
        try:
            yield connection, f"/{path}"
        finally:
            connection.close()


def answer(connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None,
           **headers: str) -> tuple[int, str, http.client.HTTPMessage]:  # fmt: skip
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    response = connection.getresponse()
    return response.status, response.read().decode(), response.headers


def test_the_page_is_for_who_has_its_whole_address(going: Writer) -> None:
    with serving(going.run) as (connection, path):
        status, text, headers = answer(connection, "GET", path)
        assert (status, "<h1" in text) == (200, True)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert not [name for name in headers if name.lower().startswith("access-control")]
        for asset in ("watch.js", "watch.css", "colours.css", "icon.svg"):
            assert answer(connection, "GET", path + asset)[0] == 200
        for wrong in ("/", "/events", f"/{'x' * 32}/", path[:-2] + "/", f"{path}../server.py",
                      f"{path}__init__.py"):  # fmt: skip
            assert answer(connection, "GET", wrong)[0] == 404, wrong
        for host in ("evil.example", "evil.example:80", "127.0.0.1", "[::1]:1", ""):
            assert answer(connection, "GET", path, Host=host)[0] in (400, 421), host
        assert answer(connection, "GET", path, Host=f"LOCALHOST:{connection.port}")[0] == 200


def posted(
    connection: http.client.HTTPConnection, path: str, body: str, **headers: str
) -> tuple[int, str]:
    """An order as the page itself would send it, but for `headers`."""
    own = {"Origin": f"http://127.0.0.1:{connection.port}", "Content_Type": "application/json"}
    sent = {name: value for name, value in {**own, **headers}.items() if value}
    status, text, _ = answer(connection, "POST", f"{path}order", body, **sent)
    return status, text


def test_orders_come_from_the_page_itself_only(going: Writer) -> None:
    with serving(going.run) as (connection, path):
        text = '{"kill": "learner0"}'
        assert answer(connection, "GET", f"{path}order")[0] in (404, 405)
        for origin in ("http://evil.example", "null", f"https://127.0.0.1:{connection.port}", ""):
            assert posted(connection, path, text, Origin=origin)[0] == 403
        assert posted(connection, path, text, Content_Type="text/plain")[0] == 415
        for body, code, said in (
            ("[]", 200, "an order is a JSON object"),
            ("{", 400, "an order is a JSON object"),
            (text, 200, "no launcher takes orders there"),
            ("x" * 20_000, 413, "short"),
        ):
            status, told = posted(connection, path, body)
            assert (status, said in told) == (code, True), told


def states(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """The states of a stream of events."""
    while line := response.readline():
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


def test_events_follow_the_run_and_end_with_the_server(going: Writer) -> None:
    with serving(going.run) as (connection, path):
        connection.request("GET", f"{path}events")
        response = connection.getresponse()
        assert response.headers["content-type"].startswith("text/event-stream")
        told = states(response)
        assert next(told)["round"] == 2
        going.event("server", "round", 2.5, 3, loss=0.25)
        state = next(state for state in told if state["round"] == 3)
        assert state["rounds"]["loss"] == [0.5, 0.25]
        write_json(going.run.run_json, about(2, links=links(2), exit_code=3, error="a reason"))
        last = next(state for state in told if state["over"])
        assert (last["outcome"], last["error"]) == ("failed", "a reason")
    assert all(state["over"] for state in told)


def asking(connection: http.client.HTTPConnection, path: str) -> Iterator[dict[str, Any]]:
    """The states that a new listener gets."""
    connection.request("GET", f"{path}events", headers={"Last-Event-ID": "7"})
    return states(connection.getresponse())


def test_who_comes_back_has_missed_nothing(going: Writer) -> None:
    with serving(going.run) as (connection, path):
        assert next(asking(connection, path))["rounds"]["number"] == [1]
        connection.close()
        for number in range(2, 6):
            going.event("server", "round", 1.0 + number, number, loss=1.0 / number)
        change(going.run, 4.0, what="cut", target="air", says="air is cut", by="hand")
        told = next(s for s in asking(connection, path) if len(s["rounds"]["number"]) == 5)
        assert [line["n"] for line in told["log"]] == list(range(1, len(told["log"]) + 1))
        assert [line["text"] for line in told["log"] if line["kind"] == "round"][-1:] == [
            "round 5: accuracy -, loss 0.200"
        ]
        assert [mark["says"] for mark in told["marks"]] == ["air is cut, by hand"]


@contextmanager
def stuck(url: str) -> Iterator[socket.socket]:
    """A listener that takes nothing in."""
    host, _, path = url.removeprefix("http://").partition("/")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.connect(("127.0.0.1", int(host.rpartition(":")[2])))
        listener.sendall(f"GET /{path}events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        yield listener


def test_a_listener_that_stands_still_holds_up_nobody(
    going: Writer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgenet.web.server._TICK_S", 0.02)
    for _ in range(200):
        going.event("learner0", "log", 1.0, 1, text="x" * 390)  # states of 100 kB
    with Server(going.run, listening(0)) as server, stuck(server.url) as listener:
        host, _, path = server.url.removeprefix("http://").partition("/")
        connection = http.client.HTTPConnection(host, timeout=WAIT_S)
        told = asking(connection, f"/{path}")
        for number in range(2, 40):  # far more than the kernel keeps for who does not read
            going.event("server", "round", 1.0 + number, number, loss=1.0 / number)
            assert any(number in state["rounds"]["number"] for state in told)
        unsent = [each.transport.get_write_buffer_size() for each in connections(server)]
        assert 0 < max(unsent) < 10**6
        ending = time.monotonic()
        server.__exit__(None, None, None)
        assert time.monotonic() - ending < WAIT_S / 2
        connection.close()
        assert listener.recv(1)  # what came before
    assert capfd.readouterr() == ("", "")


def connections(server: Server) -> list[Any]:
    """What the server has open."""
    return list(server._server.server_state.connections)


@pytest.mark.parametrize(("launcher", "by"), [
    ("torchrun", "by torchrun"), ("compose", "by containers"), ("deploy", "by edgenet deploy"),
    ("local", "the launcher is starting, ending, or gone"),
])  # fmt: skip
def test_a_run_that_takes_no_orders_says_why(going: Writer, launcher: str, by: str) -> None:
    write_json(going.run.run_json, about(2, links=links(2), launcher=launcher))
    assert by in story(going, 2.5)["no_orders"]
    with socket.socket(socket.AF_UNIX) as control, short_name(going.run.control) as address:
        control.bind(address)
        state = story(going, 2.5)
        assert (state["orders"], state["no_orders"]) == (True, "")
    write_json(going.run.run_json, about(2, links=links(2), launcher=launcher, exit_code=0))
    state = story(going, 2.5)
    assert (state["orders"], state["no_orders"]) == (False, "")


@pytest.mark.processes
def test_an_order_on_the_page_reaches_the_node(scripted: Launcher) -> None:  # noqa: F811
    learner = psutil.Process(scripted.started()["learner0"])
    run = RunDir(scripted.run)
    with serving(run) as (connection, path):
        for order, wanted in (("pause", True), ("continue", False)):
            code, told = posted(connection, path, json.dumps({order: "learner0"}))
            assert (code, "learner0" in json.loads(told)["says"]) == (200, True)
            until(lambda: (learner.status() == psutil.STATUS_STOPPED) is wanted)  # noqa: B023


def test_a_port_that_cannot_be_had_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"--port {port}: .*in use; leave it out"):
            listening(port)
    with pytest.raises(InputError, match="ports go from 0 to 65535"):
        listening(70000)
    assert main(["watch", "/nonexistent"]) == 2
    assert "no run.json there" in capsys.readouterr().err


def test_without_the_extra_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"starlette and uvicorn; run `pip install 'edgenet\[w"):
        listening(0)
