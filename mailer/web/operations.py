"""Health and metrics, for those who watch over the machines: the private port."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from mailer import errors
from mailer.core.alarm import LORE
from mailer.pipeline import Pool, measuring
from mailer.pipeline.linking import Links
from mailer.pipeline.measuring import Measured
from mailer.pipeline.receiving import Inbox
from mailer.pipeline.recording import Loader

DATABASE_TIMEOUT = 2.0  # seconds; a scrape that waits for longer is worth nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """What the handlers of the private port look at."""

    pool: Pool
    links: Links
    inbox: Inbox
    loader: Loader

    def routes(self) -> list[web.RouteDef]:
        """Return the addresses that monitoring asks."""
        return [
            web.get("/healthz", self.health),
            web.get("/readyz", self.readiness),
            web.get("/metrics", self.metrics),
        ]

    async def health(self, _request: web.Request) -> web.Response:
        """Say that this process answers."""
        return web.json_response({"alive": True})

    async def readiness(self, _request: web.Request) -> web.Response:
        """Say whether tracking works: without its spool it must not get requests.

        Without its database it still redirects and takes unsubscribes, so that a
        database that is down does not take the links of every message with it.
        """
        is_ready = self.inbox.is_writable
        said = {
            "ready": is_ready,
            "spool": "ok" if is_ready else "failing",
            "database": "down" if await self._measured() is None else "ok",
            "links": self.links.count,
            "pending_bytes": self.loader.pending,
        }
        return web.json_response(said, status=200 if is_ready else 503)

    async def metrics(self, _request: web.Request) -> web.Response:
        """Show the counters in Prometheus' text format."""
        registry = CollectorRegistry()
        registry.register(_Snapshot(self._families(await self._measured())))
        return web.Response(
            body=generate_latest(registry),
            headers={"Content-Type": CONTENT_TYPE_LATEST},
        )

    async def _measured(self) -> Measured | None:
        try:
            async with asyncio.timeout(DATABASE_TIMEOUT):
                return await measuring.measure(self.pool)
        except (errors.Unavailable, TimeoutError):
            return None

    def _families(self, measured: Measured | None) -> Iterator[Metric]:
        received = CounterMetricFamily(
            "mailer_events_received", "Events taken", labels=["kind", "label"]
        )
        for (kind, label), count in self.inbox.received.items():
            received.add_metric([kind.value, label], count)
        dropped = CounterMetricFamily(
            "mailer_events_dropped", "Events the spool did not take", labels=["kind"]
        )
        for kind, count in self.inbox.dropped.items():
            dropped.add_metric([kind.value], count)
        yield received
        yield dropped
        loader = self.loader
        for name, says, number in (
            ("mailer_events_loaded", "New events in the database", loader.loaded),
            ("mailer_events_refused", "Events set aside", loader.rejected),
            ("mailer_spool_unreadable", "Records that are none", loader.unreadable),
            ("mailer_spool_faults", "Torn ends and damaged places", loader.lost),
        ):
            yield CounterMetricFamily(name, says, value=number)
        for name, says, number in (
            ("mailer_spool_pending_bytes", "Not yet loaded", loader.pending),
            ("mailer_spool_writable", "1 if the spool works", self.inbox.is_writable),
            ("mailer_links", "Links known", self.links.count),
            ("mailer_database_up", "1 if it answers", measured is not None),
        ):
            yield GaugeMetricFamily(name, says, value=number)
        if measured is not None:
            yield from _database(measured)


def _database(measured: Measured) -> Iterator[Metric]:
    blasts = GaugeMetricFamily("mailer_blasts", "Blasts", labels=["state"])
    for state, count in measured.blasts.items():
        blasts.add_metric([state], count)
    yield blasts
    deliveries = GaugeMetricFamily(
        "mailer_deliveries", "Deliveries of running blasts", labels=["blast", "state"]
    )
    for name, states in measured.deliveries.items():
        for state, count in states.items():
            deliveries.add_metric([name, state], count)
    yield deliveries
    alarms = GaugeMetricFamily(
        "mailer_alarms_open", "Open alarms", labels=["kind", "severity"]
    )
    for kind, count in measured.alarms.items():
        alarms.add_metric([kind.value, LORE[kind].severity.value], count)
    yield alarms


class _Snapshot(Collector):
    """What is shown once."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        return self._families
