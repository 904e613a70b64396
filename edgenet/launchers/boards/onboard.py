"""What runs on a board before edgenet is there: the text of this file and of `wireguard`, executed
by the board's Python.

The standard library only, and nothing of edgenet. It is asked and answers in lines of JSON; the
end of its input is the order to undo what was not yet finished, and end.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import signal
import site
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path.home() / ".edgenet"
"""Everything of edgenet on a board lies here."""
_REACH_S = 5.0
_STALE_S = 3600.0


def say(**fields: Any) -> None:
    """One answer."""
    sys.stdout.buffer.write(json.dumps(fields).encode() + b"\n")
    sys.stdout.buffer.flush()


def hear() -> dict[str, Any]:
    """The next order. Ends the program when there is no more."""
    line = sys.stdin.buffer.readline()
    if not line:
        raise SystemExit(1)
    order: dict[str, Any] = json.loads(line)
    return order


Say = Callable[..., None]
Hear = Callable[[], dict[str, Any]]


def check(order: dict[str, Any], say: Say, hear: Hear, **more: Any) -> None:
    """Say what this board is and has; then listen, and try to reach the others.

    Args:
        order: {name, address, run?}: of the environment, of the board, and of a run that is to go
            on.
        say: answers.
        hear: takes the next order.
        more: to be said of the board besides.
    """
    listener, why = None, ""
    try:
        family = socket.AF_INET6 if ":" in order["address"] else socket.AF_INET
        listener = socket.create_server((order["address"], 0), family=family)
    except OSError as error:
        why = error.strerror or str(error)
    port = listener.getsockname()[1] if listener else None
    kept = (ROOT / "runs" / f"run-{os.path.basename(order.get('run', ''))}").is_dir()
    say(**{**_facts(order["name"]), "port": port, "why": why, "kept": kept, **more})
    failed = {peer["name"]: _try(peer["address"], peer["port"]) for peer in hear()["peers"]}
    say(unreached={name: why for name, why in failed.items() if why})
    hear()  # until all others have tried


def _facts(name: str) -> dict[str, Any]:
    ROOT.mkdir(mode=0o700, exist_ok=True)
    torch = importlib.util.find_spec("torch") is not None
    return {
        "python": list(sys.version_info[:3]),
        "machine": platform.machine(),
        "system": platform.platform(),
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "cpus": os.cpu_count(),
        "torch": importlib.metadata.version("torch") if torch else None,
        "venv": all(importlib.util.find_spec(each) is not None for each in ("venv", "ensurepip")),
        "pip": importlib.util.find_spec("pip") is not None,
        "memory_bytes": _memory(),
        "disk_bytes": shutil.disk_usage(ROOT).free,
        "present": (ROOT / name / "bin" / "python").exists(),
        "time": time.time(),
    }


def _memory() -> int | None:
    """What can be had without swapping; None where the kernel does not tell."""
    with contextlib.suppress(OSError), open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _try(address: str, port: int) -> str:
    try:
        socket.create_connection((address, port), timeout=_REACH_S).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def install(order: dict[str, Any], say: Say, hear: Hear) -> None:
    """Make an environment beside its place, and move it there when told to.

    Args:
        order: {name, wheel: bytes of edgenet's wheel, bundle: [[file, bytes], ...], present,
            requirements, index}; behind the line come the files.
    """
    final = ROOT / order["name"]
    ROOT.mkdir(mode=0o700, exist_ok=True)
    _sweep(order["name"])
    stage = Path(tempfile.mkdtemp(prefix=f".{order['name']}.", dir=ROOT))
    try:
        wheel = _receive(stage / "edgenet.whl", order["wheel"])
        wheels = stage / "wheels"
        wheels.mkdir()
        for name, size in order["bundle"]:
            _receive(wheels / os.path.basename(name), size)
        _fill(stage, wheel, wheels, order)
        shutil.rmtree(wheels)
        say(staged=True)
        if hear()["do"] == "commit":
            _move(stage, final)
            say(installed=True)
    except (subprocess.CalledProcessError, OSError) as error:
        say(failed=_reason(error))
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _sweep(name: str) -> None:
    """Remove what killed installations have left."""
    for path in ROOT.glob(f".{name}.*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_S:
                shutil.rmtree(path)


def _receive(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        while size:
            part = sys.stdin.buffer.read(min(size, 1 << 20))
            if not part:
                raise SystemExit(1)
            file.write(part)
            size -= len(part)
    return path


def _fill(stage: Path, wheel: Path, wheels: Path, order: dict[str, Any]) -> None:
    own_pip = not (order["present"] and importlib.util.find_spec("pip"))
    _run(sys.executable, "-m", "venv", *([] if own_pip else ["--without-pip"]), str(stage))
    python = str(stage / "bin" / "python")
    said = _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    packages = Path(said.strip())
    with zipfile.ZipFile(wheel) as archive:  # which is what installing a pure wheel is
        archive.extractall(packages)
    if order["present"]:
        here = [*site.getsitepackages(), site.getusersitepackages()]
        lines = [path for path in here if isinstance(path, str) and os.path.isdir(path)]
        (packages / "present.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sources = ["--extra-index-url", order["index"]] if order["index"] else []
    if order["bundle"]:
        sources = ["--no-index", "--find-links", str(wheels)]
    if order["requirements"]:
        pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
        _run(python, *pip, *sources, *order["requirements"])
    _run(python, "-c", "import edgenet.worker")
    wheel.unlink()


def _run(*command: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    return done.stdout


def _move(stage: Path, final: Path) -> None:
    try:
        os.rename(stage, final)
    except OSError:
        if not final.is_dir():  # else another deployment was faster
            raise


def _reason(error: OSError | subprocess.CalledProcessError) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the board'}: {error.strerror or error}"
    words = (error.stderr or error.stdout or "").strip().splitlines()
    told = next((line for line in words if line.startswith("ERROR:")), words[-1] if words else "")
    return f"{' '.join(error.cmd[1:4])}: {told or f'ended with {error.returncode}'}"


def _stopped(number: int, frame: object) -> None:
    raise SystemExit(1)


def main() -> None:
    """Do what the first order says."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _stopped)
    order = hear()
    programs = {name: globals()[name] for name in ("check", "install", "tunnel")}
    programs[order["do"]](order, say, hear)
