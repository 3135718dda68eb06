from __future__ import annotations

from dataclasses import dataclass

from mailer.mail import paced
from mailer.mail.sink import Act, Conversation
from tests.sink import Sink


@dataclass
class Slow(Sink):
    """A provider that takes a minute for each answer."""

    def message(self, client: Conversation, content: bytes) -> Act:
        return Act("250 OK", delay=60)

    def data(self, client: Conversation) -> Act:
        return Act("354 Go ahead", delay=30)


def client(recipient: str) -> Conversation:
    found = Conversation(Slow(), set())
    found.recipients.append(recipient)
    return found


async def test_delays_are_so_many_times_as_short() -> None:
    host = paced.Paced(Slow(), speed=60)

    assert host.data(client("ada@example.org")).delay == 0.5
    assert host.message(client("ada@example.org"), b"x").delay == 1


async def test_messages_are_weighed_and_the_largest_is_told_with_its_recipient() -> (
    None
):
    host = paced.Paced(Slow(), speed=1)
    for size in range(1, 101):
        host.message(client(f"p{size}@example.org"), b"x" * (101 - size))

    assert host.sizes == paced.Sizes(
        messages=100, smallest=1, median=50, most=95, largest=100,
        whose="p1@example.org",
    )  # fmt: skip


async def test_nobody_was_weighed() -> None:
    assert paced.Paced(Slow(), speed=1).sizes is None
