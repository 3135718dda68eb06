"""Forecasts: who waits for which lanes, asked of the database; core says the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailer import settings
from mailer.core import audience, flow, forecast, provider
from mailer.core.delivery import BlastId
from mailer.core.forecast import Forecast, Speed
from mailer.pipeline.scheduling import bearing
from mailer.store import blasts, database, deliveries, forecasts, processes

# What a worker process sends where no provider limits it, in messages a second: from
# long messages that are signed, to short ones that are not.
WORKER = Speed(worst=200, best=2000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The blast that is forecast: how many people by provider, when, from where."""

    id: BlastId
    people: Mapping[str, int]
    pool: str
    priority: int
    starts_at: datetime
    expires_at: datetime
    bursts: float = 1.0  # that each lane may send at once: none while it goes out
    is_alone: bool = False  # in a rehearsal: no other blast, lanes as the settings say


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large an audience is; *owed* are those who get a message, by provider."""

    owed: Mapping[str, int]
    mailable: int  # with those that are held out
    suppressed: int


async def audience_of(
    tx: database.Connection, body: Mapping[str, Any], *, topic: str
) -> Size:
    """Return how many people an approved content is for."""
    whom = audience.of(body, offset=deliveries.SIZE_PARAMETERS)
    sizes = await deliveries.size_up(tx, whom, topic=topic)
    suppressed = sum(one.suppressed for one in sizes)
    return Size(
        owed=owed(sizes, holdout=body["holdout"]),
        mailable=sum(one.people for one in sizes) - suppressed,
        suppressed=suppressed,
    )


def owed(sizes: Sequence[deliveries.Size], *, holdout: float) -> dict[str, int]:
    """Return how many of an audience get a message, by provider."""
    return {
        one.provider: round((one.people - one.suppressed) * (1 - holdout))
        for one in sizes
    }


class Forecaster:
    """Forecasts again and again; counts the audiences of scheduled blasts once."""

    def __init__(self, chosen: settings.Settings) -> None:
        self._settings = chosen
        self._scheduled: dict[str, Mapping[str, int]] = {}  # by content

    async def foresee(
        self,
        tx: database.Connection,
        asked: Asked,
        *,
        now: datetime,
        measured: float | None = None,
    ) -> Forecast:
        """Say when *asked* will be done.

        *measured* is what all workers send now, in messages a second, if it is known.
        """
        others = {} if asked.is_alone else await self._others(tx, asked)
        rows = {} if asked.is_alone else await forecasts.lanes(tx)
        workers = sum(one.kind == "worker" for one in await processes.alive(tx)) or 1
        speed = Speed(worst=WORKER.worst * workers, best=WORKER.best * workers)
        if measured:
            speed = Speed(worst=measured, best=measured)
        sources = [one for one in self._settings.sources if one.pool == asked.pool]
        mailboxes = [
            flow.Mailbox(
                provider=name,
                people=count,
                lanes=[
                    bearing.lane_of(
                        known_provider(self._settings, name),
                        source,
                        rows.get((name, source.name)),
                        now=now,
                        is_measured=bool(measured),
                        bursts=asked.bursts,
                    )
                    for source in sources
                ],
                others=others.get(name, ()),
            )
            for name, count in asked.people.items()
        ]
        plan = flow.Plan(
            starts_at=asked.starts_at,
            expires_at=asked.expires_at,
            priority=asked.priority,
        )
        return forecast.foresee(plan, mailboxes, speed=speed, now=now)

    async def _others(
        self, tx: database.Connection, asked: Asked
    ) -> Mapping[str, list[flow.Work]]:
        """Return what else waits for the same pool, by provider."""
        found: defaultdict[str, list[flow.Work]] = defaultdict(list)
        for one in await forecasts.waiting(tx):
            if one.id == asked.id or one.pool != asked.pool:
                continue
            for name, count in (await self._left(tx, one)).items():
                found[name].append(
                    flow.Work(
                        count=count,
                        starts_at=one.send_at,
                        expires_at=one.expires_at,
                        priority=one.priority,
                    )
                )
        return found

    async def _left(
        self, tx: database.Connection, one: forecasts.Waiting
    ) -> Mapping[str, int]:
        if one.is_launched:
            found = await deliveries.progress(tx, one.id)
            return {at.provider: at.left for at in found if at.left > 0}
        if one.approved_hash not in self._scheduled:
            body = await blasts.content(tx, one.approved_hash)
            size = await audience_of(tx, body, topic=one.topic)
            self._scheduled[one.approved_hash] = size.owed
        return self._scheduled[one.approved_hash]


def known_provider(chosen: settings.Settings, name: str) -> provider.Provider:
    """Return the provider of that name, with usual limits when nobody knows it."""
    known = {one.name: one for one in chosen.providers}
    return known.get(name, provider.Provider(name=name))


async def paces(
    tx: database.Connection, chosen: settings.Settings, *, pool: str, now: datetime
) -> dict[str, tuple[float, float]]:
    """Return the rate of each provider's lanes as they stand, and what it grows to.

    In messages a second; of several sources, the mean.  What is unlimited is left out.
    """
    rows = await forecasts.lanes(tx)
    sources = {one.name: one for one in chosen.sources if one.pool == pool}
    found: defaultdict[str, list[flow.Lane]] = defaultdict(list)
    for (name, source), row in rows.items():
        if source in sources and row.rate is not None:
            known = known_provider(chosen, name)
            here = bearing.lane_of(known, sources[source], row, now=now)
            if here.rate:
                found[name].append(here)
    return {
        name: (
            sum(one.rate for one in each) / len(each),
            sum(flow.ceiling(one) for one in each) / len(each),
        )
        for name, each in found.items()
    }
