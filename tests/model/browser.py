"""A headless Chromium that tests control through its debugging protocol."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

_OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1300,1600",
    "about:blank",
]
_TIMEOUT_S = 60.0
_LEFT = "Inspected target navigated or closed"  # Chromium's answer if another page opened while it was asked


class PageLeftError(Exception):
    """The page that was asked is being left for another one."""


class Browser:
    """A browser with one tab.

    Attributes:
        errors: Messages of the page so far: script errors and refused resources.
        requested: Addresses that the page has requested.
    """

    def __init__(self, folder: Path, *, scripts: bool = True) -> None:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if chromium is None:
            pytest.skip("no Chromium on this machine")
        self.errors: list[str] = []
        self.requested: list[str] = []
        self._message_ids = itertools.count(1)
        log = (folder / "chromium.log").open("wb")
        self._process = subprocess.Popen(
            [chromium, f"--user-data-dir={folder / 'profile'}", *_OPTIONS], stdout=log, stderr=subprocess.STDOUT
        )
        log.close()
        try:
            self._tab = connect(self._tab_address(folder / "profile" / "DevToolsActivePort"), max_size=None)
            for domain in ("Page", "Runtime", "Log", "DOM", "Network", "Accessibility"):
                self.call(f"{domain}.enable")
            if not scripts:
                self.call("Emulation.setScriptExecutionDisabled", value=True)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()

    def _tab_address(self, port_file: Path) -> str:
        """The debugging address of the tab, once Chromium has written its port to a file."""
        deadline = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline:
            if port_file.is_file() and port_file.read_text().strip():
                port = port_file.read_text().split()[0]
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as answer:
                    tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
                if tabs:
                    return tabs[0]["webSocketDebuggerUrl"]
            time.sleep(0.1)
        raise TimeoutError("Chromium did not open a tab")

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        """Send one command of the protocol and return its result."""
        message_id = next(self._message_ids)
        self._tab.send(json.dumps({"id": message_id, "method": method, "params": values}))
        while True:
            message = json.loads(self._tab.recv(timeout=_TIMEOUT_S))
            if message.get("id") == message_id:
                if message.get("error", {}).get("message") == _LEFT:
                    raise PageLeftError(message)
                assert "error" not in message, message
                return message["result"]
            self._record(message)

    def _record(self, message: dict[str, Any]) -> None:
        """Keep errors and requests that the browser reports."""
        values = message.get("params", {})
        if message.get("method") == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.errors.append(values["entry"]["text"])
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(values["exceptionDetails"]))
        if message.get("method") == "Network.requestWillBeSent":
            self.requested.append(values["request"]["url"])

    def open(self, address: str) -> None:
        """Go to an address and wait until the page is loaded."""
        self.call("Page.navigate", url=address)
        self.wait(
            f"location.href.startsWith({json.dumps(address.partition('?')[0])}) && document.readyState=='complete'"
        )

    def ask(self, script: str) -> Any:
        """The value of a JavaScript expression on the page."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def wait(self, script: str) -> None:
        """Wait until a JavaScript expression on the page is true."""
        deadline = time.monotonic() + _TIMEOUT_S
        while not self._is_true(script):
            assert time.monotonic() < deadline, f"not true after {_TIMEOUT_S:g} s: {script}"
            time.sleep(0.05)

    def _is_true(self, script: str) -> bool:
        """Whether an expression is true; False while the page is being left for the next one."""
        try:
            return bool(self.ask(script))
        except PageLeftError:
            return False

    def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file in the input that a CSS selector names."""
        document = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def press(self, key: str, text: str = "") -> None:
        """Press and release a key; `text` is what the key types."""
        codes = {"Tab": 9, "Enter": 13, " ": 32}
        values = {"key": key, "windowsVirtualKeyCode": codes.get(key, 0), "text": text}
        self.call("Input.dispatchKeyEvent", type="keyDown", **values)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=codes.get(key, 0))

    def write(self, text: str) -> None:
        """Type a text into the focused element."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        """Save a picture of the page as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def accessible_elements(self) -> list[tuple[str, str]]:
        """Role and name of the elements that a screen reader finds."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node.get("role", {}).get("value", ""), node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored")
        ]
