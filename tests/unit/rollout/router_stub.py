"""`python -m router_stub`: takes the model server's options and answers in its place, at once.

A real server takes four seconds of CPU to start, and the tests of the router kill dozens. The file
`broken` in the model's folder makes it fail at its start; `--fault` likewise; `hangs` keeps it from
ever being ready; `sick` makes it answer every request with an error of the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path


class Stub(asyncio.Protocol):
    version = ""
    model = Path()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.got = transport, b""

    def data_received(self, data: bytes) -> None:
        self.got += data
        head, ended, body = self.got.partition(b"\r\n\r\n")
        wanted = [
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        ]
        if not ended or len(body) < sum(wanted):
            return
        self.got = b""
        fields = {
            "predictions": ["yes"],
            "classes": ["no", "yes"],
            "probabilities": [[0.25, 0.75]],
            "positive": "yes",
            "model_version": self.version,
        }
        said = json.dumps(fields).encode()
        status = b"500 Sick" if (self.model / "sick").exists() else b"200 OK"
        self.transport.write(
            b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
            % (status, len(said), said)
        )


async def main() -> None:
    parser = argparse.ArgumentParser()
    for option in ("name", "digest", "host", "capture", "export", "fault", "own-traffic", "log"):
        parser.add_argument(f"--{option}")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--version")
    parser.add_argument("--port", type=int)
    # The rest is about what a stub does not have: limits, a log, marks.
    options, _ = parser.parse_known_args()
    if options.fault or (options.model / "broken").exists():
        sys.exit("the stub was told to break")
    if (options.model / "hangs").exists():
        await asyncio.sleep(60)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    Stub.version, Stub.model = options.version, options.model
    await loop.create_server(Stub, "127.0.0.1", options.port)
    await stopped.wait()


asyncio.run(main())
