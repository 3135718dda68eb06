from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from pathlib import Path

import pytest

from mailer.core.provider import Source, Tls
from mailer.mail import smtp

DATA = b"Message-ID: <b1.2.x@example.org>\r\nSubject: Hi\r\n\r\nHi\r\n"


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "json"])
async def test_the_sink_receives_until_it_is_stopped_and_says_what_it_saw(
    options: list[str], tmp_path: Path
) -> None:
    record = tmp_path / "arrived.jsonl"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mailer", "sink", "--port", "0", "--scenario", "smooth",
        "--record", str(record), *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    greeting = await (process.stderr if options else process.stdout).readline()
    found = re.search(rb":(\d+)", greeting)
    assert found is not None
    session = await smtp.connect(
        Source(name="sink", port=int(found[1]), tls=Tls.NONE, helo="mailer.test")
    )
    await session.send("a@example.org", "b@example.net", DATA)
    await session.quit()

    process.send_signal(signal.SIGTERM)
    out, _ = await process.communicate()

    assert process.returncode == 0
    assert json.loads(record.read_text())["recipient"] == "b@example.net"
    if options:
        assert [(one["provider"], one["accepted"]) for one in json.loads(out)] == [
            ("other", 1)
        ]
    else:
        assert re.search(rb"other +1 +1", out)


async def test_a_port_that_is_taken_is_said() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mailer", "sink", "--port", str(port),
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await process.communicate()
    assert process.returncode == 1
    assert said.startswith(f"mailer: 127.0.0.1:{port}: ".encode())
