"""Storms of 421 and throttling: lanes wait, nobody else does, nothing is spent (F6)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mailer.store import database
from tests import given
from tests.faults import promises, stage
from tests.faults.oracle import oracle
from tests.faults.promises import Expected

PEOPLE = 50  # of each provider
TSS04 = "421 4.7.0 [TSS04] Messages from 127.0.0.1 temporarily deferred"
RATED = (
    "421 4.7.28 Our system has detected an unusual rate of unsolicited mail"
    " originating from your IP address."
)
ATTEMPTS = "SELECT provider, max(attempts)::integer FROM delivery GROUP BY 1 ORDER BY 1"
HELD = """
SELECT provider, source FROM lane, pg_sleep(0.01)
WHERE not_before > clock_timestamp() ORDER BY provider
"""
OPENED = "UPDATE lane SET not_before = '-infinity', mode = 'normal' RETURNING 1"
SENT = """
SELECT count(*) FROM delivery, pg_sleep(0.02)
WHERE provider = $1 AND state = 'sent'
"""
DOMAINS = {"google": "gmail.test", "yahoo": "yahoo.test"}
PROVIDERS = "[provider.other]\n" + "".join(
    f'[provider.{name}]\ndomains = ["{domain}"]\n' for name, domain in DOMAINS.items()
)
LATENCY = '[provider.other]\nlatency = "30ms"\n'


def storm(at: str, says: str, *, domain: str | None = None, begins: str = "0s") -> str:
    """Refuse everybody, or the people of a domain, for some time."""
    who = f'domains = ["{domain}"]\n' if domain else ""
    return (
        f'[[trouble]]\nat = "{at}"\ndoes = "say"\nsays = "{says}"\n{who}'
        f'begins = "{begins}"\nlasts = "1.5s"\n{LATENCY}'
    )


async def held(db: database.Pool, provider: str, source: str = "relay") -> None:
    """Wait until a lane waits."""
    async with asyncio.timeout(20):
        while (provider, source) not in await given.rows(db, HELD):
            continue


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("at", "says", "stormy"),
    [
        ("rcpt", TSS04, "yahoo"),
        pytest.param("dot", RATED, "google", marks=pytest.mark.soak),
    ],
    ids=["yahoo-rcpt", "google-dot"],
)
async def test_a_provider_that_storms_waits_alone(
    at: str,
    says: str,
    stormy: str,
    db: database.Pool,
    database_url: str,
    tmp_path: Path,
) -> None:
    for provider, domain in DOMAINS.items():
        await stage.crowd(db, PEOPLE, domain=domain, provider=provider)
    name = await stage.launched(db, PEOPLE)
    scenario = storm(at, says, domain=DOMAINS[stormy], begins="0.2s")
    async with oracle(tmp_path, scenario) as book:
        house = await stage.made(
            tmp_path, database_url, book, connections=2, providers=PROVIDERS
        )
        async with stage.working(house, 2) as workers:
            await held(db, stormy)
            for one in {*DOMAINS, "other"} - {stormy}:
                while (await given.rows(db, SENT, one))[0][0] < PEOPLE:
                    continue
            refused = [one for one in book.steps if one.trouble]
            assert (await given.rows(db, SENT, stormy))[0][0] < PEOPLE
            assert 0 < len(refused) <= 2 * 2  # no lane is hammered
            await given.rows(db, OPENED)
            await stage.finished(db, 3 * PEOPLE)
            await stage.stopped(workers)

    # Being throttled is no attempt.
    assert await given.rows(db, ATTEMPTS) == [("google", 1), ("other", 1), ("yahoo", 1)]
    await promises.kept(db, name, book, Expected(people=3 * PEOPLE, connections=3 * 2))


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    "at", ["mail", pytest.param("connect", marks=pytest.mark.soak)]
)
async def test_a_source_that_is_turned_away_waits_and_the_other_goes_on(
    at: str, db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    for folder in ("stormy", "calm"):
        (tmp_path / folder).mkdir()
    name = await stage.launched(db, 3 * PEOPLE)
    async with (
        oracle(tmp_path / "stormy", storm(at, "421 4.3.2 Try again later")) as stormy,
        oracle(tmp_path / "calm", LATENCY) as calm,
    ):
        house = await stage.made(tmp_path, database_url, stormy, connections=2)
        house.edit("config/settings.toml", "[source.relay]", SECOND.format(calm.port))
        async with stage.working(house) as workers:
            await held(db, "other")
            await calm.hears("dot", 60, more=True)  # more than the storm lasts
            await given.rows(db, OPENED)
            await stage.finished(db, 3 * PEOPLE)
            await stage.stopped(workers)

    refused = [one for one in stormy.steps if one.trouble]
    assert 0 < len(refused) <= 2 * 6  # each connection tries a few times, then it waits
    assert await given.rows(db, ATTEMPTS) == [("other", 1)]
    await promises.kept(
        db, name, [stormy, calm], Expected(people=3 * PEOPLE, connections=2)
    )


SECOND = """[source.second]
host = "127.0.0.1"
port = {}
tls = "none"
rate = "unlimited"
connections = 2
messages = 1000

[source.relay]"""
