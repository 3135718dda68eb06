"""A workspace with ports of its own, a database and a provider that can be scripted."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.register_assert_rewrite(
    "tests.journeys.letters", "tests.journeys.tracker", "tests.program"
)

from tests import program  # noqa: E402 -- only what comes after it is rewritten
from tests.program import Program  # noqa: E402 -- as above
from tests.sink import Sink  # noqa: E402 -- as above

# Domains of nobody stand for the large providers; a second try comes at once.
PROVIDERS = "".join(
    f'[provider.{name}]\ndomains = ["{domain}"]\nretry = ["1s"]\n'
    for name, domain in (
        ("google", "gmail.test"),
        ("yahoo", "yahoo.test"),
        ("apple", "icloud.test"),
        ("other", "elsewhere.test"),
    )
)


@pytest.fixture
async def house(database_url: str, sink: Sink, tmp_path: Path) -> Program:
    """`mailer init` was run, and its settings edited; the sink is its relay."""
    made = await program.made(
        tmp_path / "workspace", database=database_url, sink=sink.port
    )
    made.write("config/providers.toml", PROVIDERS)
    return made
