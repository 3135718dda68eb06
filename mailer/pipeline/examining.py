"""What is published about our domains, compared with what we send."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field

from mailer import errors, settings
from mailer.core import provider, record, signature
from mailer.core.record import Finding, Level
from mailer.mail import header
from mailer.mail.resolver import Resolver
from mailer.settings import dns


async def examine(
    chosen: settings.Settings, *, domains: Sequence[str] = ()
) -> list[Finding]:
    """Look at the keys and domains of the settings, and at *domains* that mail is from.

    Raises Unavailable when nothing can be asked.
    """
    resolver = Resolver([dns.server(one) for one in chosen.dns.servers])
    usual = header.Mailbox.parse(chosen.organization.from_).address.rpartition("@")[2]
    direct = [one for one in chosen.sources if one.kind is provider.Kind.DIRECT]
    questions: list[tuple[str, Awaitable[list[Finding]]]] = [
        (f"dkim {key.host}", _key(resolver, key)) for key in chosen.signers
    ]
    for domain in dict.fromkeys(one.lower() for one in (usual, *domains)):
        signers = signature.signing(chosen.signers, domain)
        questions += [
            (f"signature {domain}", _signature(domain, signers)),
            (f"spf {domain}", _spf(resolver, domain, direct)),
            (f"dmarc {domain}", _dmarc(resolver, domain, signers)),
            (f"mx {domain}", _mx(resolver, domain)),
        ]
    if (bounces := chosen.returns.domain) is not None:
        questions += [
            (f"aligned {bounces}", _aligned(bounces, usual.lower())),
            (f"spf {bounces}", _spf(resolver, bounces, direct)),
            (f"mx {bounces}", _mx(resolver, bounces)),
        ]
    questions += [(f"ptr {one.name}", _reverse(resolver, one)) for one in direct]
    silent: list[errors.Unavailable] = []
    async with asyncio.TaskGroup() as tasks:
        asked = [
            tasks.create_task(_answered(name, question, silent))
            for name, question in questions
        ]
    needed = [
        name for name, _ in questions if not name.startswith(("signature ", "aligned "))
    ]
    if len(silent) == len(needed):
        raise silent[0]
    return [finding for task in asked for finding in task.result()]


async def _answered(
    name: str, question: Awaitable[list[Finding]], silent: list[errors.Unavailable]
) -> list[Finding]:
    try:
        return await question
    except errors.Unavailable as error:
        silent.append(error)
        return [Finding(level=Level.NO, name=name, text=str(error))]


async def _key(resolver: Resolver, key: signature.Key) -> list[Finding]:
    return [record.dkim(key, await resolver.txt(key.host))]


async def _signature(domain: str, signers: Sequence[signature.Key]) -> list[Finding]:
    name = f"signature {domain}"
    if signers:
        text = ", ".join(f"{key.selector} ({key.algorithm})" for key in signers)
        return [Finding(level=Level.OK, name=name, text=f"by {text}")]
    text = (
        "nothing signs here, and Gmail and Yahoo refuse unsigned bulk mail: unless the "
        f"relay signs, `mailer keys dkim --domain {domain} --selector NAME`"
    )
    return [Finding(level=Level.WARN, name=name, text=text)]


async def _aligned(bounces: str, domain: str) -> list[Finding]:
    """Look whether SPF of the return path counts for DMARC: RFC 7489 §3.1.2."""
    name = f"aligned {bounces}"
    if bounces == domain or bounces.endswith(f".{domain}"):
        text = f"a part of {domain}: its SPF counts for DMARC"
        return [Finding(level=Level.OK, name=name, text=text)]
    text = f"no part of {domain}: only DKIM counts for DMARC; use bounce.{domain}"
    return [Finding(level=Level.WARN, name=name, text=text)]


async def _dmarc(
    resolver: Resolver, domain: str, signers: Sequence[signature.Key]
) -> list[Finding]:
    for place in record.walk(domain):
        texts = [one for one in await resolver.txt(place) if record.is_dmarc(one)]
        if len(texts) > 1:
            text = f"{len(texts)} records at {place}, so none counts: leave one"
            return [Finding(level=Level.NO, name=f"dmarc {domain}", text=text)]
        if texts:
            return [record.dmarc(domain, place, texts[0], signers)]
    return [record.dmarc(domain, None, "", signers)]


async def _mx(resolver: Resolver, domain: str) -> list[Finding]:
    """Look whether bounces and replies find their way back."""
    level, text = Level.OK, ""
    hosts = await resolver.mx(domain)
    if "" in hosts:  # RFC 7505
        level, text = Level.NO, "takes no mail (null MX): nobody can bounce or reply"
    elif not hosts and not await resolver.addresses(domain):
        level, text = Level.NO, "no MX: bounces and replies are lost: publish one"
    elif not hosts:
        level, text = Level.WARN, "no MX: bounces go to the domain's own address"
    else:
        lost = [host for host in hosts if not await resolver.addresses(host)]
        if lost:
            level, text = Level.NO, f"{', '.join(lost)} has no address: correct the MX"
        else:
            text = ", ".join(hosts)
    return [Finding(level=level, name=f"mx {domain}", text=text)]


async def _reverse(resolver: Resolver, source: provider.Source) -> list[Finding]:
    """Look whether what sends straight to providers is named there and back."""
    name = f"ptr {source.name}"
    if source.helo is None:
        text = f"set helo in [source.{source.name}]: the name of this machine"
        return [Finding(level=Level.NO, name=name, text=text)]
    addresses = await resolver.addresses(source.helo)
    if not addresses:
        text = f"{source.helo} has no address: publish the one that it sends from"
        return [Finding(level=Level.NO, name=name, text=text)]
    found = []
    for address in addresses:
        names = await resolver.names(address)
        level, text = Level.OK, f"{address} is {source.helo}, there and back"
        if source.helo.lower() not in names:
            level = Level.NO
            text = (
                f"{address} is {', '.join(names) or 'nobody'} in reverse: have its "
                f"owner set the PTR to {source.helo}"
            )
        found.append(Finding(level=level, name=name, text=text))
    return found


@dataclass(slots=True)
class _Allowed:
    """What an SPF record allows, its includes read as well."""

    networks: list[str] = field(default_factory=list)
    lookups: int = 0
    end: str = ""  # the qualifier of all


class _NoSpf(Exception):
    """Why an SPF record is no good."""


async def _spf(
    resolver: Resolver, domain: str, direct: Sequence[provider.Source]
) -> list[Finding]:
    """Read the record of a domain that stands in the envelope."""
    level, text = Level.OK, ""
    allowed = _Allowed()
    try:
        await _allow(resolver, domain, allowed)
    except _NoSpf as error:
        level, text = Level.NO, str(error)
    else:
        text = f"{allowed.lookups} of {record.LOOKUPS} lookups"
        if allowed.end == "+":
            level, text = Level.NO, "+all allows everybody: end it with ~all or -all"
        elif allowed.end in {"", "?"}:
            level, text = Level.WARN, "says nothing of others: end it with ~all or -all"
    found = [Finding(level=level, name=f"spf {domain}", text=text)]
    for source in direct if level is not Level.NO else ():
        for address in await resolver.addresses(source.helo or "invalid."):
            if not _is_in(address, allowed.networks):
                word = f"ip{ipaddress.ip_address(address).version}:{address}"
                text = f"does not allow {address} of source {source.name}: add {word}"
                found.append(Finding(level=Level.NO, name=f"spf {domain}", text=text))
    return found


async def _allow(
    resolver: Resolver, domain: str, allowed: _Allowed, *, why: str = ""
) -> None:
    """Add what the record of *domain* allows."""
    texts = [one for one in await resolver.txt(domain) if record.is_spf(one)]
    if not texts:
        if why:
            raise _NoSpf(f"{why}which has no SPF record: leave it out")
        raise _NoSpf(
            f'no SPF record: publish {domain} TXT "v=spf1 include:YOUR-RELAY ~all"'
        )
    if len(texts) > 1:
        raise _NoSpf(
            f"{domain} has {len(texts)} SPF records, so none counts: leave one"
        )
    try:
        terms = record.spf(texts[0])
    except ValueError as error:
        raise _NoSpf(f"{domain}: {error}, so the record does not count") from None
    for term in terms:
        allowed.lookups += term.is_lookup
        if allowed.lookups > record.LOOKUPS:
            raise _NoSpf(
                f"more than {record.LOOKUPS} lookups, so it does not count: write "
                "addresses instead of includes"
            )
        await _add(resolver, domain, term, allowed)


async def _add(
    resolver: Resolver, domain: str, term: record.Term, allowed: _Allowed
) -> None:
    host, slash, size = term.value.partition("/")
    host = host or domain
    if "%" in host:
        return  # a macro: nobody can say before there is a message
    match term.name:
        case "all":
            allowed.end = term.qualifier
        case "ip4" | "ip6" if term.qualifier == "+":
            allowed.networks.append(term.value)
        case "a" if term.qualifier == "+":
            found = await resolver.addresses(host)
            allowed.networks += [one + slash + size for one in found]
        case "mx" if term.qualifier == "+":
            for exchange in await resolver.mx(host):
                found = await resolver.addresses(exchange)
                allowed.networks += [one + slash + size for one in found]
        case "include" if term.qualifier == "+":
            end = allowed.end
            await _allow(resolver, host, allowed, why=f"{domain} includes {host}, ")
            allowed.end = end  # what an include says of others is its own
        case "redirect":
            await _allow(resolver, host, allowed, why=f"{domain} asks {host}, ")
        case _:
            pass  # exists and ptr depend on the message, the rest allows nobody


def _is_in(address: str, networks: Sequence[str]) -> bool:
    for network in networks:
        try:
            if ipaddress.ip_address(address) in ipaddress.ip_network(
                network, strict=False
            ):
                return True
        except ValueError:
            continue  # "192.0.2.1/64//128": dual sizes
    return False
