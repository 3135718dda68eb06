"""What a person may see and choose who comes from a message: /p, /v and the way back.

A GET changes nothing, whoever sends it; a POST is on the disk before it is answered.
No visit is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from mailer import errors
from mailer.core import preference, subscriber
from mailer.core.event import Kind
from mailer.core.preference import Choice
from mailer.core.tracking import Purpose, Token
from mailer.pipeline import Pool, preferring
from mailer.pipeline.preferring import Standing
from mailer.settings import Topic
from mailer.web import pages, words
from mailer.web import tracking as answers
from mailer.web.tracking import Tracking
from mailer.web.words import Words

FIELDS = 200  # of a form, at most

# The message may show its images, and its links may be followed; nothing else.
_VIEW_POLICY = (
    "default-src 'none'; img-src https: data:; style-src 'unsafe-inline' https:; "
    "font-src https:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox "
    "allow-top-navigation-by-user-activation"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What the handlers of these pages share."""

    tracking: Tracking
    pool: Pool
    house: preferring.House
    topics: Mapping[str, Topic]
    provider: Callable[[str], str]  # of a domain

    def routes(self) -> list[web.RouteDef]:
        """Return the addresses that messages carry."""
        return [
            web.get("/p/{token}", self.show),
            web.post("/p/{token}", self.choose),
            web.get("/v/{token}", self.view),
        ]

    async def show(self, request: web.Request) -> web.Response:
        """Show what a person gets."""
        token = self.tracking.token(request, Purpose.PREFERENCES)
        if token is None:
            return answers.not_found()
        try:
            standing = await preferring.show(self.pool, token)
        except errors.Unavailable:
            say = words.spoken(None, request.headers.get("Accept-Language", ""))
            return answers.page(pages.away(self.tracking.house, say))
        if standing is None:  # erased since
            return answers.not_found()
        say = spoken(request, standing)
        shown = pages.Shown(
            email=preference.masked(standing.email),
            topics=self._topics(standing, say),
            every=standing.every,
            paused_until=standing.paused_until,
            tracking=standing.tracking,
        )
        return answers.page(pages.preferences(self.tracking.house, say, shown))

    async def choose(self, request: web.Request) -> web.Response:
        """Keep what a person chose; it takes effect when it is loaded."""
        token = self.tracking.token(request, Purpose.PREFERENCES)
        if token is None:
            return answers.not_found()
        form = await fields(request)
        standing = await self._standing(token)
        say = spoken(request, standing)
        house = self.tracking.house
        known = {topic.name for topic in self._topics(standing, say)}
        try:
            choice = preference.parse(form, topics=tuple(known))
        except errors.Invalid:
            text = say["wrong.text"]
            wrong = pages.told(house, say, title="wrong.title", text=text)
            return answers.page(wrong, status=422)
        if choice.email is not None and not _is_address(choice.email):
            text = say["wrong.email"].format(email=choice.email)
            wrong = pages.told(house, say, title="wrong.title", text=text)
            return answers.page(wrong, status=422)
        try:
            body = {**preference.as_json(choice), **self._place(choice, say)}
            await self.tracking.keep(request, Kind.PREFERENCES, token, body=body)
        except errors.Unavailable:
            return answers.page(pages.try_again(house, say, form), status=503)
        before = None if standing is None else _form(standing, sorted(known))
        text = _said(choice, say, who=house.name)
        return answers.page(pages.saved(house, say, text=text, before=before))

    async def view(self, request: web.Request) -> web.Response:
        """Show the message of a token in the browser."""
        token = self.tracking.token(request, Purpose.VIEW)
        if token is None:
            return answers.not_found()
        say = words.spoken(None, request.headers.get("Accept-Language", ""))
        try:
            urls = self.tracking.links.of(token.blast)
            text = await preferring.view(self.pool, self.house, token, urls)
        except errors.Unavailable:
            title, said = "again.title", say["again.text"]
            again = pages.told(self.tracking.house, say, title=title, text=said)
            return answers.page(again, status=503)
        except (errors.NotFound, errors.Invalid):
            return answers.not_found()
        return answers.page(text, policy=_VIEW_POLICY)

    def _place(self, choice: Choice, say: Words) -> dict[str, Any]:
        """Return the address that a person wants, as the question about it has it."""
        if choice.email is None:
            return {}
        wanted = subscriber.normalise(choice.email)
        place = {
            "email": wanted.email,
            "address": wanted.address,
            "domain": wanted.domain,
            "provider": self.provider(wanted.domain),
            "language": say["code"],
        }
        return {"place": place}

    async def _standing(self, token: Token) -> Standing | None:
        try:
            return await preferring.show(self.pool, token)
        except errors.Unavailable:
            return None

    def _topics(self, standing: Standing | None, say: Words) -> list[pages.Topic]:
        """Return the topics that are shown: those of the settings, and the blast's."""
        names = list(self.topics)
        if standing is not None and standing.topic not in {None, *names}:
            names.append(str(standing.topic))
        found = []
        for name in names:
            known = self.topics.get(name, Topic(title=name.capitalize()))
            named = known.named(say["code"])
            is_wanted = standing is None or not (
                standing.none or name in standing.unwanted
            )
            found.append(
                pages.Topic(
                    name=name,
                    title=named.title,
                    describes=named.describes,
                    is_wanted=is_wanted,
                )
            )
        return found


def spoken(request: web.Request, standing: Standing | None) -> Words:
    """Return the words in the person's language, else in the browser's."""
    known = None if standing is None else standing.language
    return words.spoken(known, request.headers.get("Accept-Language", ""))


async def fields(request: web.Request) -> dict[str, str]:
    """Return the fields of a form; of one that cannot be read, none."""
    body = await answers.body(request)
    try:
        text = body.decode("utf-8")
        return dict(parse_qsl(text, max_num_fields=FIELDS, keep_blank_values=True))
    except ValueError:
        return {}


def _is_address(email: str) -> bool:
    try:
        subscriber.normalise(email)
    except errors.Invalid:
        return False
    return True


def _said(choice: Choice, say: Words, *, who: str) -> str:
    if choice.none:
        return say["saved.none"].format(who=who)
    if choice.email is not None:
        return say["saved.email"].format(email=choice.email)
    return say["saved.text"]


def _form(standing: Standing, shown: list[str]) -> dict[str, str]:
    """Return the form that brings back what was."""
    if standing.none:
        return {"none": "1"}
    wanted = [name for name in shown if name not in standing.unwanted]
    before = {
        "shown": " ".join(shown),
        **{f"topic-{name}": "1" for name in wanted},
        "every": str(standing.every),
        "tracking": standing.tracking or "",
    }
    if standing.paused_until is None:
        before["pause"] = "0"
    return before
