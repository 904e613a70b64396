"""Debian's Chromium without a window, over the DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

WAIT_S = 30.0
_OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions",
    "--disable-sync", "--metrics-recording-only", "--mute-audio", "--hide-scrollbars",
    "--remote-debugging-port=0",
)  # fmt: skip

COVERING = """(shown => shown.flatMap((one, n) => shown.slice(n + 1).flatMap(other => {
  const [a, b] = [one, other].map(each => each.getBoundingClientRect());
  const meet = a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  return meet ? [`${one.textContent} / ${other.textContent}: ${JSON.stringify([a, b])}`] : [];
})))"""
"""In JavaScript: a function of elements that tells which of them cover each other."""


class Tab:
    """One page of a browser.

    Args:
        socket: to the page.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._number = socket, 0
        self.complaints: list[str] = []
        """What the page wrote to the console as an error, exceptions, and requests that failed."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the DevTools protocol; returns its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        deadline = time.monotonic() + WAIT_S
        while True:
            message = json.loads(self._socket.recv(max(0.0, deadline - time.monotonic())))
            if message.get("id") == self._number:
                assert "error" not in message, (method, message["error"])
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning"):
                self.complaints.append(json.dumps(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(json.dumps(params["entry"]))
            case "Network.requestWillBeSent":
                url = params["request"]["url"]
                if not url.startswith(("http://127.0.0.1:", "data:", "file:")):
                    self.complaints.append(f"asked the network for {url}")

    def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Go to a page, as on a screen of this size."""
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def resize(self, width: int, height: int) -> None:
        """Another screen."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def value(self, expression: str) -> Any:
        """Of an expression of JavaScript."""
        options = {"returnByValue": True, "awaitPromise": True}
        found = self.call("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str, wait_s: float = WAIT_S) -> Any:
        """Wait until an expression holds; returns its value."""
        deadline = time.monotonic() + wait_s
        while True:
            value = self.value(expression)
            if value:
                return value
            assert time.monotonic() < deadline, expression
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """A key, on what has the focus."""
        code = {"Enter": ("\r", 13), "Escape": ("", 27)}[key]
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, text=code[0],
                      windowsVirtualKeyCode=code[1])  # fmt: skip

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """A screenshot, of the whole page."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    @property
    def too_wide(self) -> int:
        """Pixels by which the page is wider than the screen."""
        found: int = self.value("document.documentElement.scrollWidth - innerWidth")
        return max(0, found)


@contextmanager
def browser() -> Iterator[Tab]:
    """A tab of a fresh browser."""
    # A socket of the browser's lies in there, so its name must be short.
    with tempfile.TemporaryDirectory(prefix="b-", ignore_cleanup_errors=True) as folder:
        with _running(Path(folder)) as found:
            yield found


@contextmanager
def _running(folder: Path) -> Iterator[Tab]:
    started = subprocess.Popen(
        ["chromium", *_OPTIONS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
        env=os.environ | {"TMPDIR": str(folder), "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stderr is not None
    try:
        said = [""]
        while "DevTools listening on" not in (line := said[-1]):
            said.append(started.stderr.readline())
            assert said[-1], said
        address = line.split()[-1]
        with connect(address, max_size=None, proxy=None) as whole:
            with connect(_page(whole, address), max_size=None, proxy=None) as page:
                yield Tab(page)
            whole.send(json.dumps({"id": 2, "method": "Browser.close"}))
            started.wait(WAIT_S)
    finally:
        if started.poll() is None:
            started.kill()
        started.wait()
        started.stderr.close()


def _page(whole: ClientConnection, address: str) -> str:
    """Where a new tab of the browser is spoken to."""
    order = {"id": 1, "method": "Target.createTarget", "params": {"url": "about:blank"}}
    whole.send(json.dumps(order))
    while (message := json.loads(whole.recv(WAIT_S))).get("id") != 1:
        pass
    return f"{address.split('/devtools/')[0]}/devtools/page/{message['result']['targetId']}"
