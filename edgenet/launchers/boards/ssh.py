"""Boards by the OpenSSH client, with the user's own configuration, keys and jump hosts."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from edgenet.errors import InputError, NodeError
from edgenet.launchers.boards import onboard
from edgenet.launchers.boards.hosts import Board
from edgenet.launchers.boards.wires import PipeLines

_OPTIONS = {
    "BatchMode": "yes",  # a question would wait for ever
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ControlMaster": "auto",
    "ControlPersist": "30",
}
_LOADER = (
    "import sys; sys.version_info < (3, 10) and sys.exit('Python %d.%d' % sys.version_info[:2]); "
    "source = sys.stdin.buffer; exec(compile(source.read(int(source.readline())), 'onboard', "
    "'exec'), {'__name__': '__main__'})"
)
"""Takes a program's length and text from its input, and leaves the rest of the input to it."""
_TERM_S = 5.0


class BoardError(NodeError):
    """A board is gone, or does not do what it was asked."""


class Call:
    """A program on a board, for as long as it runs.

    Args:
        board: where.
        process: ssh.
        errors: what ssh and the program say on stderr.
    """

    def __init__(self, board: Board, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.board, self._process, self._errors = board, process, errors
        self._input, self._output = process.stdin, process.stdout
        self.wire = PipeLines(self._output, self._input)

    def hear(self, key: str, timeout_s: float) -> dict[str, Any]:
        """The next answer that has `key`.

        Raises:
            BoardError: the program ended, or did not answer in time.
        """
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0 and not self.wire.ended:
            for line in self.wire.read_for(left):
                if "failed" in line:
                    raise BoardError(str(line["failed"]))
                if key in line:
                    return line
        if self.wire.ended:
            raise BoardError(self.why())
        raise BoardError(f"gave no answer within {timeout_s:.0f} s")

    def pour(self, content: bytes | Path) -> None:
        """Send raw bytes, or a file's."""
        with contextlib.suppress(BrokenPipeError):  # its end shows when it is to answer
            if isinstance(content, bytes):
                self._input.write(content)
            else:
                with content.open("rb") as file:
                    shutil.copyfileobj(file, self._input, 1 << 20)
            self._input.flush()

    def why(self) -> str:
        """How the program ended, in the words that it or ssh left."""
        code = self._wait()
        self._errors.seek(0)
        said = self._errors.read()[-4096:].decode(errors="replace").strip().splitlines()
        return f"{said[-1].strip() if said else 'no word'} (ssh ended with {code})"

    def close(self) -> None:
        """Close its input, which is the order to end; then end ssh."""
        with contextlib.suppress(OSError):
            self._input.close()
        self._wait()
        self._output.close()
        self._errors.close()

    def _wait(self) -> int:
        try:
            return self._process.wait(_TERM_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def kill(self) -> None:
        """End ssh; the program notices the end of its input."""
        self._process.kill()

    def __enter__(self) -> Call:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Ssh:
    """The client; one connection to each board, shared by all calls and closed on leaving.

    Args:
        command: the client and options of the user's own.
    """

    def __init__(self, command: Sequence[str] = ("ssh",)) -> None:
        if shutil.which(command[0]) is None:
            raise InputError(f"there is no '{command[0]}' here; install the OpenSSH client")
        self._command = list(command)
        self._used: set[str] = set()
        self._calls: list[Call] = []

    def __enter__(self) -> Ssh:
        self._folder = tempfile.mkdtemp(prefix="en-")  # short: a socket's path has 108 bytes
        for name, value in {**_OPTIONS, "ControlPath": f"{self._folder}/%C"}.items():
            self._command += ["-o", f"{name}={value}"]
        return self

    def __exit__(self, *_: object) -> None:
        for target in self._used:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._ask("-O", "exit", target)
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self, board: Board, remote: str) -> Call:
        """Run a line of the board's shell."""
        self._used.add(board.ssh)
        errors = tempfile.TemporaryFile()  # noqa: SIM115, the call's; a pipe would stay open in the shared connection
        process = subprocess.Popen(
            [*self._command, "-T", board.ssh, remote],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C at the terminal is the deployment's to answer
        )
        self._calls.append(Call(board, process, errors))
        return self._calls[-1]

    def abort(self) -> None:
        """End every program at once: whoever waits for one hears that it ended."""
        for call in self._calls:
            call.kill()

    def onboard(self, board: Board, **order: Any) -> Call:
        """Run `onboard` with its first order."""
        call = self.start(board, f"exec {shlex.quote(board.python)} -c {shlex.quote(_LOADER)}")
        text = Path(onboard.__file__).read_bytes()
        call.pour(f"{len(text)}\n".encode() + text)
        call.wire.send(**order)
        return call

    def hostname(self, board: Board) -> str:
        """The host's name or address that ssh connects to, of its configuration."""
        for line in self._ask("-G", board.ssh).splitlines():
            key, _, value = line.partition(" ")
            if key == "hostname":
                return value
        return board.ssh

    def _ask(self, *arguments: str) -> str:
        command = [*self._command, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        return done.stdout
