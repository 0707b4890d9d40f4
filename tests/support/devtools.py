"""A real browser without a window, steered by its own protocol (Chrome DevTools) over two pipes: no port, no driver."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import io
import json
import os
import select
import subprocess
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.support.peers import Peers

_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    # A viewer draws by WebGL, here in software.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--remote-debugging-pipe",
)
TIMEOUT_S = 90.0


class Tab:
    """One page of a browser."""

    def __init__(self, process: subprocess.Popen[bytes], to_browser: int, from_browser: int) -> None:
        self._process, self._to, self._from = process, to_browser, from_browser
        self._number, self._unread, self._session = 0, b"", ""
        #: What the page wrote to its console and what it threw, as text.
        self.said: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, timeout_s: float = TIMEOUT_S, **parameters: Any) -> Any:
        """Send a command and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + timeout_s
        while True:
            answer = self._read(deadline)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer.get('error')}"
                return answer["result"]
            self._note(answer)

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._unread:
            left = deadline - time.monotonic()
            ready = select.select([self._from], [], [], max(left, 0))[0]
            assert ready, f"the browser does not answer: {self.said[-5:]}"
            data = os.read(self._from, 1 << 20)
            assert data, f"the browser has ended with {self._process.poll()}"
            self._unread += data
        message, _, self._unread = self._unread.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Runtime.consoleAPICalled":
            self.said.append(
                " ".join(str(each.get("value", each.get("description"))) for each in event["params"]["args"])
            )
        if event.get("method") == "Runtime.exceptionThrown":
            self.said.append(json.dumps(event["params"]["exceptionDetails"])[:500])

    def open(self, url: str, size: tuple[int, int] = (1400, 900), scheme: str = "light") -> None:
        """Go to a page in a window of (width, height) and in the colours of a scheme, and wait until it is loaded."""
        self.ask("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        gone_to = self.ask("Page.navigate", url=url)
        assert "errorText" not in gone_to, gone_to
        self.wait("document.readyState === 'complete'", f"{url} to be loaded")

    def run(self, script: str, timeout_s: float = TIMEOUT_S) -> Any:
        """The value of an expression of the page, which may be a promise."""
        found = self.ask(
            "Runtime.evaluate", timeout_s, expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script: str, what: str, timeout_s: float = TIMEOUT_S) -> Any:
        """The first value of an expression that is true; the page is asked again at each of its own ticks."""
        asked = f"""new Promise((found, failed) => {{
            const end = Date.now() + {round(timeout_s * 1000)};
            const look = () => {{
                let value; try {{ value = {script}; }} catch (error) {{ value = null; }}
                if (value) found(value instanceof Node ? true : value); else if (Date.now() > end) found(null); else setTimeout(look, 100);
            }};
            look();
        }})"""
        value = self.run(asked, timeout_s + 10)
        assert value, f"waited {timeout_s:.0f} s for {what}; the page said {self.said[-8:]}"
        return value

    def text(self, *words: str, timeout_s: float = TIMEOUT_S) -> str:
        """What a person can read on the page, once all of these words are there."""
        asked = f"{json.dumps(words)}.every(word => document.body.innerText.includes(word))"
        try:
            self.wait(asked, f"{words} on the page", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows {self.run('document.body.innerText')!r}") from error
        return str(self.run("document.body.innerText"))

    def shown(self) -> NDArray[np.uint8]:
        """What the window shows: (rows, columns, 3)."""
        data = base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])
        with Image.open(io.BytesIO(data)) as made:
            return np.asarray(made.convert("RGB"))


@contextlib.contextmanager
def browser(chromium: Peers, folder: Path) -> Iterator[Tab]:
    """Start a browser with a profile of its own in `folder`; it ends with the block."""
    their_in, our_out = _pipe()
    our_in, their_out = _pipe()

    def take_pipes() -> None:
        os.dup2(their_in, 3)
        os.dup2(their_out, 4)

    command = [chromium.programs["chromium"], *_OPTIONS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    with (folder / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=chromium.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            close_fds=False,
            preexec_fn=take_pipes,  # noqa: PLW1509
        )
    os.close(their_in)
    os.close(their_out)
    try:
        yield Tab(process, our_out, our_in)
    finally:
        os.close(our_out)  # the browser ends when nobody steers it
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(our_in)


def _pipe() -> tuple[int, int]:
    """The ends to read and to write, under numbers that do not collide with the browser's 3 and 4."""
    made = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in made]
    for end in made:
        os.close(end)
    return high[0], high[1]
