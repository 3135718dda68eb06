"""The obvious way: EmailMessage, dkimpy, aiosmtplib.send, one after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiosmtplib
import jinja2

from rig import floor
from rig.given import FROM, MICRO, Figures, Given


def obvious(asked: Given) -> Figures:
    """Send that many messages; return what one of them takes."""
    composer, people = asyncio.run(floor.read(asked))
    known = floor.contexts(composer, people)
    compiled = composer.renderer.compiled
    parts = [
        jinja2.Template(text)
        for text in (compiled.subject, compiled.text, compiled.html)
    ]
    begun, cpu = time.perf_counter(), time.process_time()
    asyncio.run(_send(asked, parts, known))
    return {
        "messages": asked.messages,
        "cpu": (time.process_time() - cpu) / asked.messages * MICRO,
        "messages_per_second": asked.messages / (time.perf_counter() - begun),
    }


async def _send(
    asked: Given,
    parts: Sequence[jinja2.Template],
    contexts: Sequence[Mapping[str, Any]],
) -> None:
    import dkim  # from the extra "dev"

    key = (Path(asked.folder) / "key").read_bytes()
    for number in range(asked.messages):
        known = contexts[number % len(contexts)]
        subject, text, html = (part.render(known) for part in parts)
        letter = EmailMessage()
        letter["From"] = FROM
        letter["To"] = known["email"]
        letter["Subject"] = subject
        letter["Message-ID"] = f"<b1.{number}@example.org>"
        letter["List-Unsubscribe"] = f"<{known['unsubscribe_url']}>"
        letter.set_content(text)
        letter.add_alternative(html, subtype="html")
        if asked.is_signed:
            signed = dkim.sign(letter.as_bytes(), b"bench", b"example.org", key)
            name, _, value = signed.decode("ascii").partition(": ")
            letter[name] = value.replace("\r\n", "").strip()
        await aiosmtplib.send(
            letter, hostname="127.0.0.1", port=asked.port, start_tls=False
        )
