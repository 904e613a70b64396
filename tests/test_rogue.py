"""Strangers: what they may take of a listener, and what they can do to a run."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from link_pairs import KEY, OPENERS, Setting, both, endpoint

from edgenet.links import adopt
from edgenet.links.cable import MAGIC, OPENING_BYTES, Cable, Cables, open_cable
from edgenet.links.handshake import Session
from edgenet.links.listener import Bounds, Listener, listen
from edgenet.links.rendezvous import RendezvousServer

ROGUE = Path(__file__).parent.parent / "benchmarks" / "rogue_client.py"
HELLO = b"hello"
PATIENCE_S = 10.0


@contextlib.contextmanager
def answering(**bounds: float) -> Iterator[Listener]:
    """A listener that answers 'yes' to a whole word; the word 'wait' keeps it waiting for more."""

    def serve(caller: socket.socket, proven: Callable[[], None]) -> None:
        with caller:
            if caller.recv(len(HELLO)) == HELLO:
                proven()
                caller.sendall(b"yes")
            else:
                caller.recv(1)

    listener = Listener(listen(), serve, Bounds(first_bytes=len(HELLO), **bounds))  # type: ignore
    try:
        yield listener
    finally:
        listener.close()


def call(listener: Listener, said: bytes = b"") -> socket.socket:
    sock = socket.create_connection(listener.address, timeout=PATIENCE_S)
    sock.sendall(said)
    return sock


def ask(listener: Listener) -> bytes:
    """The answer to a caller who says the word."""
    with call(listener, HELLO) as sock:
        return sock.recv(16)


def hung_up(sock: socket.socket) -> bool:
    """Waits until the other end has closed."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_who_says_nothing_gives_way_to_who_comes_later() -> None:
    with answering(silent=4, patience_s=3600.0) as listener, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(call(listener, b"he")) for _ in range(10)]
        assert all(hung_up(sock) for sock in silent[:6])
        assert ask(listener) == b"yes"
        silent[-1].sendall(HELLO[2:])  # the last four were only waiting
        assert silent[-1].recv(16) == b"yes"


def test_who_says_nothing_is_hung_up_on_in_time() -> None:
    with answering(patience_s=0.2) as listener, call(listener, b"he") as sock:
        assert hung_up(sock)


def test_who_talks_without_proof_gives_way_after_a_moment() -> None:
    with answering(talking=2, grace_s=0.2) as listener, contextlib.ExitStack() as stack:
        stalling = [stack.enter_context(call(listener, b"wait!")) for _ in range(2)]
        assert ask(listener) == b"yes"
        assert hung_up(stalling[0])  # and the other when a third one needs its place


def test_no_more_callers_talk_than_may() -> None:
    """Not even where all say their first words at the same moment."""
    most, now, peak, lock = 4, 0, 0, threading.Lock()

    def serve(caller: socket.socket, proven: Callable[[], None]) -> None:
        nonlocal now, peak
        with lock:
            now += 1
            peak = max(peak, now)
        with caller:
            time.sleep(0.02)  # talks for a while
            caller.sendall(b"yes" if caller.recv(1) else b"no")
        with lock:
            now -= 1

    bounds = Bounds(first_bytes=1, talking=most, grace_s=PATIENCE_S)
    listener = Listener(listen(), serve, bounds)
    with contextlib.closing(listener), contextlib.ExitStack() as stack:
        callers = [stack.enter_context(call(listener)) for _ in range(5 * most)]
        time.sleep(0.1)  # all of them have been taken
        for sock in callers:
            sock.sendall(b"x")
        assert [sock.recv(3) for sock in callers] == [b"yes"] * len(callers)
    assert 1 <= peak <= most


def test_callers_beyond_the_rate_wait() -> None:
    with answering(burst=1, per_s=50.0) as listener:
        start = time.monotonic()
        with ThreadPoolExecutor(10) as pool:
            assert list(pool.map(lambda _: ask(listener), range(10))) == [b"yes"] * 10
        assert time.monotonic() - start >= 8 / 50.0


def test_a_listener_that_closes_hangs_up_on_everybody() -> None:
    with answering(patience_s=3600.0) as listener, call(listener) as sock:
        address = listener.address
        listener.close()
        assert hung_up(sock)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=PATIENCE_S)


@pytest.fixture
def session() -> Session:
    return Session("p1", bytes(range(32)))


def both_ends(cables: Cables, session: Session) -> tuple[Cable, Cable]:
    """The dialer's and the acceptor's end of a cable."""
    deadline = time.monotonic() + PATIENCE_S
    with listen() as sock, ThreadPoolExecutor(1) as pool:
        dialed = pool.submit(open_cable, sock.getsockname()[:2], session, 4096, deadline)
        with cables.expected(session, 8192) as take:
            cables.arrive(sock.accept()[0], deadline)
            return dialed.result(timeout=PATIENCE_S), take(deadline)


def test_a_cable_tells_both_ends_how_much_the_other_takes(session: Session) -> None:
    dialer, acceptor = both_ends(Cables(), session)
    with dialer.sock, acceptor.sock:
        assert (dialer.peer_frame_bytes, acceptor.peer_frame_bytes) == (8192, 4096)
        dialer.sock.sendall(b"frames")
        assert acceptor.sock.recv(16) == b"frames"


def arrives(cables: Cables, opening: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(opening)
        cables.arrive(ours, time.monotonic() + PATIENCE_S)


def test_a_false_or_recorded_opening_is_refused(session: Session) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, ThreadPoolExecutor(1) as pool, listen() as sock:
        address = sock.getsockname()[:2]
        dialed = pool.submit(open_cable, address, session, 4096, time.monotonic() + PATIENCE_S)
        caller = sock.accept()[0]
        opening = caller.recv(OPENING_BYTES, socket.MSG_WAITALL)
        caller.close()
        with pytest.raises(ConnectionError):
            dialed.result(timeout=PATIENCE_S)
    cables = Cables()
    with pytest.raises(ConnectionError, match="nobody expects"):
        arrives(cables, opening)
    with cables.expected(session, 8192) as take:
        for wrong in (
            opening[:-1] + b"\1",
            opening[:60] + bytes((opening[60] ^ 1,)) + opening[61:],
            MAGIC + struct.pack("!I", 8192) + opening[8:],
        ):
            with pytest.raises(ConnectionError, match="nobody expects"):
                arrives(cables, wrong)
        for frame_bytes in (0, 1 << 31):
            with pytest.raises(ConnectionError, match="out of bounds"):
                arrives(cables, MAGIC + struct.pack("!I", frame_bytes) + opening[8:])
        arrives(cables, opening)
        with pytest.raises(ConnectionError, match="nobody expects"):
            arrives(cables, opening)  # recorded
        take(time.monotonic())
    with cables.expected(session, 8192) as take:
        with pytest.raises(ConnectionError, match="did not come"):
            take(time.monotonic())


def test_an_answer_of_somebody_else_is_not_believed(session: Session) -> None:
    other = Session("p1", bytes(32))
    with pytest.raises(ConnectionError):
        both_ends_of(session, other)


def both_ends_of(mine: Session, theirs: Session) -> None:
    """A dialer whose opening is answered with its own words, and with another session's."""
    for answer in (lambda said: said, lambda said: said[:24] + theirs.token + said[56:]):
        with listen() as sock, ThreadPoolExecutor(1) as pool:
            until = time.monotonic() + PATIENCE_S
            dialed = pool.submit(open_cable, sock.getsockname()[:2], mine, 4096, until)
            with sock.accept()[0] as caller:
                caller.sendall(answer(caller.recv(OPENING_BYTES, socket.MSG_WAITALL)))
                dialed.result(timeout=PATIENCE_S)


def listening() -> set[tuple[str, int]]:
    found = psutil.Process().net_connections("tcp")
    return {(c.laddr.ip, c.laddr.port) for c in found if c.status == psutil.CONN_LISTEN}


def test_gloo_itself_listens_to_nobody() -> None:
    before = listening()
    with RendezvousServer(KEY) as server:
        hub, peer = endpoint(server, "hub"), endpoint(server, "p1")
        known = {server.address, hub._listener.address, peer._listener.address}
        assert listening() - before == known
        here, there = both(hub, peer)
        there.send("still")
        assert here.recv(timeout_s=PATIENCE_S) == "still"
        closing = threading.Thread(target=hub.close)
        closing.start()
        peer.close()
        closing.join(PATIENCE_S)


def test_without_linux_gloo_makes_its_connections_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopt, "POSSIBLE", False)
    with OPENERS["gloo"](Setting()) as ends:
        ends.left.send("by itself")
        assert ends.right.recv(timeout_s=PATIENCE_S) == "by itself"


def called_on(topology: Path, out: Path, rounds: int) -> tuple[int, int]:
    """A run of so many rounds, on whose ports strangers call: (ports, calls)."""
    words = ["-m", "edgenet", "run", str(topology), "--out", str(out)]
    words += ["--format", "json", "--set", f"train.rounds={rounds}", "--set", "shaping=none"]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE) as run:
        called = [sys.executable, str(ROGUE), str(run.pid), "--per-second", "100", "--eager"]
        with subprocess.Popen(called, stdout=subprocess.PIPE) as rogue:
            said, _ = run.communicate(timeout=120)
            rogue.terminate()
            told = json.loads(rogue.communicate(timeout=30)[0].splitlines()[-1])
    assert run.returncode == 0
    assert json.loads(said)["rounds"] == rounds
    return told["ports"], sum(told["calls"].values())


@pytest.mark.processes
@pytest.mark.timeout(300)
def test_a_run_goes_on_while_strangers_call_on_every_port(
    topology_file: Path, tmp_path: Path
) -> None:
    """Where the run was over before they had called on all, they are given a longer one."""
    ports, calls = called_on(topology_file, tmp_path / "runs", 60)
    if ports < 5 or calls <= 100:
        ports, calls = called_on(topology_file, tmp_path / "runs", 300)
    assert ports >= 5  # the table's, and one of each of four nodes
    assert calls > 100
    for journal in tmp_path.glob("runs/*/nodes/*/events.jsonl"):
        events = [json.loads(line) for line in journal.read_text().splitlines()]
        assert {e["what"] for e in events if e["e"] == "fault"} <= {"refused"}
        linked = {e["peer"] for e in events if e["e"] == "linked"}
        assert linked <= {"server", "learner0", "learner1", "learner2"}
