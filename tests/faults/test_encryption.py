"""TLS as the source asks, against servers that get it wrong (F14)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from mailer import runtime
from mailer.mail import certificate
from mailer.store import database
from tests import given
from tests.faults import promises, stage
from tests.faults.oracle import oracle
from tests.faults.promises import Expected

PEOPLE = 20
HELD = """
SELECT reason FROM lane, pg_sleep(0.02) WHERE not_before > clock_timestamp()
"""
UNTOUCHED = "SELECT DISTINCT state::text, attempts::integer FROM delivery"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("tls", "mode", "is_encrypted"),
    [
        ("certificate = '{trusted}'", "required", True),
        pytest.param("handshake = 'broken'", "opportunistic", False),
        pytest.param(
            "certificate = 'expired'", "opportunistic", True, marks=pytest.mark.soak
        ),
        pytest.param(None, "opportunistic", False, marks=pytest.mark.soak),
        pytest.param(
            "certificate = 'self-signed'", "none", False, marks=pytest.mark.soak
        ),
    ],
)
async def test_mail_goes_out_as_encrypted_as_both_sides_can(
    tls: str | None,
    mode: str,
    is_encrypted: bool,
    db: database.Pool,
    database_url: str,
    tmp_path: Path,
) -> None:
    name = await stage.launched(db, PEOPLE)
    file = tmp_path / "server.pem"
    now = runtime.now()
    certificate.write(file, begins=now - timedelta(1), ends=now + timedelta(1))
    scenario = "" if tls is None else f"[tls]\n{tls.format(trusted=file)}\n"
    async with oracle(tmp_path, scenario) as book:
        house = await stage.made(tmp_path, database_url, book)
        house = stage.having(house, SSL_CERT_FILE=str(file))
        house.edit("config/settings.toml", '"none"          ', f'"{mode}"')
        async with stage.working(house):
            await stage.finished(db, PEOPLE)
            await stage.at_rest(db)

    last = {one.client: one.is_encrypted for one in book.heard("ehlo")}
    senders = {one.client for one in book.heard("mail")}
    assert {last[client] for client in senders} == {is_encrypted}
    await promises.kept(
        db, name, book, Expected(people=PEOPLE, connections=2 * stage.CONNECTIONS)
    )


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "tls",
    [
        "[tls]\ncertificate = 'expired'\n",
        pytest.param("", marks=pytest.mark.soak),
        pytest.param("[tls]\ncertificate = 'self-signed'\n", marks=pytest.mark.soak),
        pytest.param("[tls]\nhandshake = 'broken'\n", marks=pytest.mark.soak),
        pytest.param("[tls]\nhandshake = 'refused'\n", marks=pytest.mark.soak),
    ],
    ids=["expired", "stripped", "unknown", "broken", "refused"],
)
async def test_where_tls_is_required_nothing_goes_out_without_it_and_nothing_is_spent(
    tls: str, db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    await stage.launched(db, PEOPLE)
    async with oracle(tmp_path, tls) as book:
        house = await stage.made(tmp_path, database_url, book)
        house.edit("config/settings.toml", '"none"          ', '"required"')
        async with stage.working(house) as workers:
            async with asyncio.timeout(20):
                while not await given.rows(db, HELD):
                    continue
            ((reason,),) = await given.rows(db, HELD)
            await stage.at_rest(db)
            await stage.stopped(workers)

    assert "TLS" in reason
    assert book.heard("mail") == []
    assert await given.rows(db, UNTOUCHED) == [("owed", 0)]
