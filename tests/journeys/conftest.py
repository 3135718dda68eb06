"""A workspace with ports of its own, a database and a provider that can be scripted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import program
from tests.program import Program
from tests.sink import Sink

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
