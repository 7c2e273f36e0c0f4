"""A page in headless Chromium that a test clicks in, over the DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import Request, urlopen

import websocket

from tests.browser import FLAGS, find_chromium

WEBGL = "--use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader".split()
"""Maps are drawn with WebGL, here without a graphics card."""
SECONDS = 60.0


class Page:
    """One page; every wait has a generous end and says what it waited for."""

    def __init__(self, connection: websocket.WebSocket) -> None:
        self._connection = connection
        self._count = 0
        self.errors: list[str] = []
        """Exceptions of the page's scripts."""
        self.send("Runtime.enable")
        self.send("Page.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        self._connection.send(json.dumps(message))
        while True:
            answer = json.loads(self._connection.recv())
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(answer["params"]["exceptionDetails"]))
            if answer.get("id") == self._count:
                if "navigated" in str(answer.get("error")):
                    return {"exceptionDetails": "the page went away meanwhile"}
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, url: str) -> None:
        """Go to an address."""
        self.send("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """Value of an expression in the page; None if it throws."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        return None if "exceptionDetails" in result else result["result"].get("value")

    def wait(self, expression: str, seconds: float = SECONDS) -> Any:
        """Value of an expression as soon as it is true."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := self.value(expression):
                return found
            time.sleep(0.1)
        text = self.value("document.body.innerText")
        raise AssertionError(f"waited in vain for {expression}; the page says: {text}")

    def text(self) -> str:
        """Text that a person sees."""
        return str(self.value("document.body.innerText"))

    def see(self, *words: str) -> None:
        """Wait until all these words are on the page."""
        for word in words:
            self.wait(f"document.body.innerText.includes({json.dumps(word)})")

    def click(self, words: str, selector: str = "a") -> None:
        """Click on the first element that has these words."""
        found = (
            f"[...document.querySelectorAll({json.dumps(selector)})]"
            f".find(e => e.innerText && e.innerText.includes({json.dumps(words)}))"
        )
        self.wait(f"!!{found}")
        self.value(f"{found}.click()")

    def screenshot(self, path: Path) -> None:
        """Write what is on the screen as PNG."""
        found = self.send("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def open_page(*, size: tuple[int, int] = (1280, 900)) -> Iterator[Page]:
    """A page of a browser of its own."""
    program = find_chromium()
    assert program is not None, "chromium is not installed"
    with TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        command = [
            program,
            *(flag for flag in FLAGS if flag != "--disable-gpu"),
            *WEBGL,
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            f"--window-size={size[0]},{size[1]}",
            "about:blank",
        ]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            port = _wait_for_port(Path(profile) / "DevToolsActivePort", process)
            request = Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
            with urlopen(request, timeout=SECONDS) as answer:
                address = json.load(answer)["webSocketDebuggerUrl"]
            connection = websocket.create_connection(address, timeout=SECONDS, suppress_origin=True)
            try:
                yield Page(connection)
            finally:
                connection.close()
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for_port(file: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "chromium ended at once"
        if file.is_file() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        time.sleep(0.05)
    raise AssertionError("chromium did not start")
