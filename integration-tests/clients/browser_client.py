"""Opens the chat page, sends a message, waits for the answer, keeps a picture.

python browser_client.py CHROMIUM URL PICTURE.png

Speaks the DevTools protocol itself, so that nothing but Chromium is needed.
"""

import base64
import http.client
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--remote-debugging-port=0", "--window-size=1100,800"]


class Page:
    """One WebSocket to a page's DevTools."""

    def __init__(self, host, port, path):
        self.socket = socket.create_connection((host, port), timeout=30)
        self.socket.sendall(
            (f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
             "Connection: Upgrade\r\nSec-WebSocket-Key: "
             f"{base64.b64encode(os.urandom(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n"
             ).encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self.socket.recv(4096)
        self.buffer = self.buffer.split(b"\r\n\r\n", 1)[1]
        self.last = 0

    def _read(self, count):
        while len(self.buffer) < count:
            data = self.socket.recv(1 << 16)
            assert data, "Chromium closed the connection"
            self.buffer += data
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def _message(self):
        parts = b""
        while True:
            first, second = self._read(2)
            length = second & 127
            if length == 126:
                length = struct.unpack(">H", self._read(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", self._read(8))[0]
            parts += self._read(length)
            if first & 0x80:
                return json.loads(parts)

    def call(self, method, **parameters):
        self.last += 1
        payload = json.dumps({"id": self.last, "method": method, "params": parameters}).encode()
        mask = os.urandom(4)
        header = b"\x81" + (struct.pack(">B", 0x80 | len(payload)) if len(payload) < 126
                            else struct.pack(">BH", 0x80 | 126, len(payload)))
        self.socket.sendall(header + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))
        while True:
            answer = self._message()
            if answer.get("id") == self.last:
                assert "error" not in answer, answer
                return answer["result"]

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")


def main():
    chromium, url, picture = sys.argv[1:]
    profile = tempfile.mkdtemp()
    browser = subprocess.Popen([chromium, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
                               stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        port = None
        for line in browser.stderr:
            match = re.search(r"ws://127\.0\.0\.1:(\d+)/", line)
            if match:
                port = int(match.group(1))
                break
        assert port, "Chromium did not start"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/json")
        target = next(t for t in json.load(connection.getresponse()) if t["type"] == "page")
        page = Page("127.0.0.1", port, re.sub(r"^ws://[^/]+", "", target["webSocketDebuggerUrl"]))
        page.call("Page.enable")
        page.call("Page.navigate", url=url + "/")
        deadline = time.monotonic() + 60
        while page.evaluate("!!document.querySelector('textarea')") is not True:
            assert time.monotonic() < deadline, "the page has no field to write into"
            time.sleep(0.1)
        page.evaluate("document.querySelector('textarea').focus()")
        page.call("Input.insertText", text="What is the capital of France?")
        for kind in ("keyDown", "keyUp"):
            page.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r",
                      windowsVirtualKeyCode=13)
        while not re.search(r"\d tok(ens)?/s", page.evaluate("document.body.innerText")):
            assert time.monotonic() < deadline, page.evaluate("document.body.innerText")
            time.sleep(0.1)
        time.sleep(1)  # Let the answer end, for the picture.
        shot = page.call("Page.captureScreenshot", format="png")
        with open(picture, "wb") as file:
            file.write(base64.b64decode(shot["data"]))
        loaded = page.evaluate(
            "performance.getEntriesByType('resource').map(entry => entry.name).join(' ')")
        outside = [name for name in loaded.split() if not name.startswith(url.removesuffix(":80"))]
        assert not outside, f"the page loads from elsewhere: {outside}"
        print("all good")
    finally:
        browser.kill()
        browser.wait()
        shutil.rmtree(profile, ignore_errors=True)


main()
