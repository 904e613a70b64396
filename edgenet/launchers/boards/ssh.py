"""Boards by the OpenSSH client, with the user's own configuration, keys and jump hosts."""

from __future__ import annotations

import contextlib
import inspect
import json
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from edgenet.errors import InputError
from edgenet.launchers.boards import onboard, wireguard
from edgenet.launchers.boards.hosts import Board
from edgenet.launchers.boards.wires import PipeLines, Talk

_OPTIONS = {
    "BatchMode": "yes",  # a question would wait for ever
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ControlMaster": "auto",
    "ControlPersist": "30",
}
_LOADER = (
    "import json, sys; sys.version_info < (3, 10) and sys.exit('Python %d.%d' % "
    "sys.version_info[:2]); scope = {'__name__': 'onboard'}; "
    "[exec(compile(text, 'onboard', 'exec'), scope) for text in "
    "json.loads(sys.stdin.buffer.readline())]; scope['main']()"
)
"""Takes the texts of programs from its input, and leaves the rest of the input to them."""
_TERM_S = 5.0


class _Program:
    """A program on a board, for as long as it runs under an ssh of its own.

    Args:
        process: ssh.
        errors: what ssh and the program say on stderr.
    """

    def __init__(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._errors = process, errors
        self.input, self._output = process.stdin, process.stdout
        self.wire = PipeLines(self._output, self.input)

    def why(self) -> str:
        """How the program ended, in the words that it or ssh left."""
        code = self._wait()
        self._errors.seek(0)
        said = self._errors.read()[-4096:].decode(errors="replace").strip().splitlines()
        return f"{said[-1].strip() if said else 'no word'} (ssh ended with {code})"

    def close(self) -> None:
        """Close its input, which is the order to end; then end ssh."""
        with contextlib.suppress(OSError):
            self.input.close()
        self._wait()
        self._output.close()
        self._errors.close()

    def kill(self) -> None:
        """End ssh; the program notices the end of its input."""
        self._process.kill()

    def _wait(self) -> int:
        try:
            return self._process.wait(_TERM_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class Call(Talk):
    """A conversation with a program on a board, that takes raw bytes, too."""

    def __init__(self, board: Board, program: _Program) -> None:
        super().__init__(board, program.wire, program.why, program.kill, program.close)
        self._input = program.input

    def pour(self, content: bytes | Path) -> None:
        """Send raw bytes, or a file's."""
        with contextlib.suppress(BrokenPipeError):  # its end shows when it is to answer
            if isinstance(content, bytes):
                self._input.write(content)
            else:
                with content.open("rb") as file:
                    shutil.copyfileobj(file, self._input, 1 << 20)
            self._input.flush()


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
        return Call(board, _Program(process, errors))

    def onboard(self, board: Board, **order: Any) -> Call:
        """Run `onboard` with its first order."""
        call = self.start(board, f"exec {shlex.quote(board.python)} -c {shlex.quote(_LOADER)}")
        texts = [inspect.getsource(each) for each in (onboard, wireguard)]
        call.pour(json.dumps(texts).encode() + b"\n")
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
