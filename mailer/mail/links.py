"""Number the links of a message and make the addresses that they lead to.

An address is checked and completed once, here, and then kept byte for byte: signed
links and percent-encodings must arrive as they were written.  Values of a person
stay out of it: `{v0}` stands where they go, `{refcode2}` for who clicked.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from mailer import errors
from mailer.mail import markup, source, tokens

# Context names that are addresses of ours, or were vetted with the settings.
VETTED = frozenset({
    "unsubscribe_url", "preferences_url", "view_url", "pixel_url", "website",
})  # fmt: skip
DONATION_HOSTS = ("actblue.com",)
_ADDRESSES = frozenset({"href", "src", "background-url", "background"})
_NO_LINK = frozenset({"link", "mj-font", "base"})  # of the head: no person follows them
UNTRACKED = ("mailto:", "tel:", "sms:", "#")

_ABSOLUTE = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):(.*)", re.DOTALL)
_HOST = re.compile(
    r"(?=.{1,253}(?::|$))(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*"
    r"(?::\d{1,5})?",
    re.IGNORECASE,
)
_SIGNED = re.compile(r"[?&;](?:X-Amz-Signature|signature|sig|hmac)=", re.IGNORECASE)
_URI = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A tracked link: its number in the blast, its address, its values in Jinja."""

    index: int
    url: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which links carry a refcode, and which."""

    own_domains: Collection[str] = ()
    donation_hosts: Collection[str] = DONATION_HOSTS
    refcode: str | None = None


def checked(document: tokens.Document) -> Iterator[errors.Problem]:
    """Yield what is wrong with the addresses of a *document*, where they stand."""
    for node in markup.scan(document.text):
        if node.kind is not markup.Kind.OPEN:
            continue
        for one in node.attributes:
            if one.name not in _ADDRESSES or not one.value or node.name in _NO_LINK:
                continue
            value = html.unescape(one.value).strip()
            within = document.tokens.found(value)
            if document.tokens.pattern.fullmatch(value):
                problem = unvetted(within[0])
                if problem:
                    yield problem
            elif within or not value.lower().startswith(UNTRACKED):
                message = refusal(value, document.tokens)
                if message:
                    shown = document.tokens.restore(value)
                    yield document.problem(f"{shown}: {message}", at=one.start)


@dataclass(slots=True, kw_only=True)
class Table:
    """The links of one message as they are found."""

    tokens: tokens.Tokens
    rules: Rules
    first: int
    links: list[Link] = field(default_factory=list)
    problems: list[errors.Problem] = field(default_factory=list)

    def numbered(self, text: str) -> str:
        """Return the HTML *text* with a word for `link_N` in each tracked href."""
        parts: list[str] = []
        at = 0
        for node in markup.scan(text):
            href = node.attribute("href") if node.name in {"a", "area"} else None
            if href is None or not href.value or node.kind is not markup.Kind.OPEN:
                continue
            parts += [text[at : href.start], self.href(html.unescape(href.value))]
            at = href.end
        return "".join([*parts, text[at:]])

    def href(self, value: str, *, reuse: bool = False) -> str:
        """Return what stands in the href: a word for the link, or what it was."""
        value = value.strip()
        within = self.tokens.found(value)
        if not within and value.lower().startswith(UNTRACKED):
            return html.escape(value)
        whole = self.tokens.pattern.fullmatch(value)
        if whole:
            problem = unvetted(within[0])
            if problem:
                self.problems.append(problem)
            return value
        message = refusal(value, self.tokens)
        if message:
            shown = self.tokens.restore(value)
            self.problems.append(errors.Problem(message=f"{shown}: {message}"))
            return html.escape(value)
        link = self._link(value, within)
        known = next((k for k in self.links if _same(k, link)), None)
        if reuse and known:
            link = known
        else:
            self.links.append(link)
        return self.tokens.add(
            source.Piece(
                kind=source.Kind.EXPRESSION,
                text=f"link_{link.index}",
                file="",
                line=0,
            )
        )

    def _link(self, value: str, within: Sequence[source.Piece]) -> Link:
        numbers = iter(range(len(within)))
        url = self.tokens.pattern.sub(lambda _: f"{{v{next(numbers)}}}", value)
        return Link(
            index=self.first + len(self.links),
            url=with_refcode(url, self.rules),
            values=tuple(p.text for p in within),
        )


def _same(one: Link, other: Link) -> bool:
    return (one.url, one.values) == (other.url, other.values)


def unvetted(piece: source.Piece) -> errors.Problem | None:
    """Say so when a whole address comes from a value that nobody has looked at."""
    if piece.text in VETTED or re.search(r"\|\s*safe_url$", piece.text):
        return None
    return piece.problem(
        f"a person's value as an address: write {{{{ {piece.text} | safe_url }}}}"
    )


def refusal(value: str, given: tokens.Tokens) -> str | None:
    """Return what is wrong with an address that may hold words for Jinja, or None."""
    within = given.found(value)
    if any(p.kind is source.Kind.STATEMENT for p in within):
        return "a link can't hold a condition: write a link for each case"
    authority = re.match(r"[^:]*:(?://)?[^/?#]*", value)
    if within and given.found(authority[0] if authority else value):
        return "a value may stand in a link's path or query, not in its host"
    return fault(given.pattern.sub("x", value))


def fault(url: str) -> str | None:
    """Return what is wrong with an address to redirect to, or None.

    https only, no user, no backslash, ASCII only: what browsers and mail gateways
    read alike.
    """
    match = _ABSOLUTE.fullmatch(url)
    if not url.isascii():
        return "write non-ASCII hosts as xn--…, and paths percent-encoded"
    if match is None:
        return "write the whole address: https://…"
    scheme, rest = match[1].lower(), match[2]
    if scheme == "http":
        return "write https: a plain http page can be changed on its way"
    if scheme != "https" or not rest.startswith("//"):
        return "only https links lead out of a message"
    if not _URI.fullmatch(rest) or re.search(r"%(?![0-9A-Fa-f]{2})", rest):
        return "percent-encode spaces, braces, quotes, backslashes and single %"
    authority = re.split(r"[/?#]", rest[2:], maxsplit=1)[0]
    if "@" in authority:
        return "a user name in a link is what forgers do"
    if not _HOST.fullmatch(authority):
        return f"{authority or 'nothing'} is no host name"
    return None


def with_refcode(url: str, rules: Rules) -> str:
    """Return *url* with refcodes appended where they belong; its bytes stay.

    Own and donation hosts only: a third party may refuse unknown parameters.  A
    signed address is left alone: a changed query breaks the signature.
    """
    if rules.refcode is None or _SIGNED.search(url):
        return url
    host = re.split(r"[/?#:]", url[len("https://") :], maxsplit=1)[0].lower()
    known = [*rules.own_domains, *rules.donation_hosts]
    if not any(host == d or host.endswith("." + d) for d in known):
        return url
    address, hash_, fragment = url.partition("#")
    for key, value in (("refcode", rules.refcode), ("refcode2", "{refcode2}")):
        _, mark, query = address.partition("?")
        if re.search(rf"(?:^|[&;]){key}(?:=|&|;|$)", query):
            continue  # the author's own wins
        joint = "?" if not mark else "" if query.endswith("&") or not query else "&"
        address += f"{joint}{key}={value}"
    return address + hash_ + fragment
