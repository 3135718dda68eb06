"""What was said to a simulated provider, written down before it is answered."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from mailer.mail import sink
from mailer.mail.sink import Act, Conversation, Then


class Transcript:
    """A host that writes a JSON line for each step; *host* answers.

    Each has the time, the number of the connection, the step and what came of it:
    the reply, or how the connection ended.
    """

    def __init__(
        self, host: sink.Host, path: Path, *, now: Callable[[], datetime]
    ) -> None:
        self._host = host
        self._path = path
        self._now = now
        self._file = -1

    def __enter__(self) -> Transcript:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(self._path, flags, 0o600)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)
        self._file = -1

    def _write(self, client: Conversation, step: str, **more: Any) -> None:
        if self._file < 0:  # the last to leave come after the end
            return
        line = {"at": self._now().isoformat(), "client": client.number, "step": step}
        os.write(self._file, json.dumps(line | more).encode() + b"\n")

    def _answered(self, client: Conversation, step: str, act: Act, **more: Any) -> Act:
        reply = act.reply.partition("\n")[0][:200]
        if act.then not in {Then.GO_ON, Then.ENCRYPT}:
            more["then"] = act.then.name.lower().replace("_", "-")
        if act.trouble is not None:
            more["trouble"] = act.trouble
        self._write(client, step, **more, reply=reply)
        return act

    # ── sink.Host ───────────────────────────────────────────────────────────

    def connected(self, client: Conversation) -> Act:
        """Greet."""
        return self._answered(client, "connect", self._host.connected(client))

    def ehlo(self, client: Conversation) -> Act:
        """Answer EHLO."""
        act = self._host.ehlo(client)
        return self._answered(client, "ehlo", act, tls=client.is_encrypted)

    def starttls(self, client: Conversation) -> Act:
        """Answer STARTTLS."""
        return self._answered(client, "starttls", self._host.starttls(client))

    def mail(self, client: Conversation, sender: str) -> Act:
        """Answer MAIL FROM."""
        act = self._host.mail(client, sender)
        return self._answered(client, "mail", act, sender=sender)

    def rcpt(self, client: Conversation, address: str) -> Act:
        """Answer RCPT TO."""
        act = self._host.rcpt(client, address)
        return self._answered(client, "rcpt", act, recipient=address)

    def data(self, client: Conversation) -> Act:
        """Answer DATA."""
        act = self._host.data(client)
        return self._answered(client, "data", act, recipient=_first(client))

    def body(self, client: Conversation, size: int) -> Act | None:
        """Break off while the message comes, if at all."""
        act = self._host.body(client, size)
        if act is not None:
            self._answered(client, "body", act, recipient=_first(client))
        return act

    def message(self, client: Conversation, content: bytes) -> Act:
        """Answer the final dot."""
        recipient = _first(client)
        act = self._host.message(client, content)
        return self._answered(client, "dot", act, recipient=recipient)

    def other(self, client: Conversation, verb: str) -> Act:
        """Answer anything else."""
        return self._answered(client, "other", self._host.other(client, verb))

    def left(self, client: Conversation) -> None:
        """Note whether the client said good-bye."""
        self._write(client, "left", quit=client.has_quit)
        self._host.left(client)


def _first(client: Conversation) -> str | None:
    return client.recipients[0] if client.recipients else None
