"""What servers write about why they refuse a message, and the class that it means.

Collected from the providers' pages that config/bounces.toml names, and from the
sources of Postfix, Sendmail, Exim, qmail, Exchange, Dovecot and Cyrus.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from typing import NamedTuple


class Class(StrEnum):
    """Why a message came back."""

    BAD_ADDRESS = "bad-address"  # there is no such mailbox
    INACTIVE = "inactive-mailbox"  # there was one
    BAD_DOMAIN = "bad-domain"  # the domain takes no mail
    FULL = "full-mailbox"
    NO_HOST = "no-host"  # its server could not be found: perhaps only now
    ROUTING = "routing"  # loops, and servers that do not know their own domain
    EXPIRED = "expired"  # tried for days
    SPAM = "spam"
    POLICY = "policy"
    AUTHENTICATION = "authentication"  # our DNS, or our signature
    CONTENT = "content"  # too large, a virus, a link
    SENDER = "sender"  # our address is not taken
    TRANSIENT = "transient"
    UNKNOWN = "unknown"

    @property
    def suppresses(self) -> bool:
        """Tell whether nobody is there: the only ones that suppress at once."""
        return self in {Class.BAD_ADDRESS, Class.INACTIVE, Class.BAD_DOMAIN}

    @property
    def is_counted(self) -> bool:
        """Tell whether an address is left alone for a while when it says so often."""
        return self in {Class.FULL, Class.NO_HOST, Class.ROUTING, Class.EXPIRED}


class Text(NamedTuple):
    """A class, and what is written of it in any case."""

    kind: Class
    expression: str

    def search(self, text: str) -> re.Match[str] | None:
        """Find what is written of this class; made ready when it is first asked."""
        return _compiled(self.expression).search(text)


@cache
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.IGNORECASE)


def _text(kind: Class, *patterns: str) -> Text:
    return Text(kind, "|".join(patterns))


# In this order: what is about us, then what is about the person.
TEXTS = (
    # Microsoft's edge says so of an address that its directory does not hold:
    # learn.microsoft.com/exchange/mail-flow-best-practices, "Use Directory-Based
    # Edge Blocking".
    _text(
        Class.BAD_ADDRESS,
        r"5\.4\.1\b.*recipient address rejected: access denied",
    ),
    _text(
        Class.AUTHENTICATION,
        r"\b(dmarc|dkim|spf)\b", r"un-?authenticated (mail|email|sender)",
        r"authentication (checks?|level|information)", r"sender is unauthenticated",
        r"sender id\b",
    ),
    _text(
        Class.SPAM,
        r"spam", r"\bjunk", r"unsolicited", r"black ?list", r"block ?list",
        r"\b(dns|r|u)bls?\b", r"\brbl:", r"reputation", r"\bbulk\b", r"senderscore",
        r"(?<!not )listed (in|on|by|at)\b", r"barracuda", r"\bcloudmark\b",
        r"\babus(e|ive)\b", r"banned send", r"suspicious", r"user complaints",
        r"unusual rate",
    ),
    _text(
        Class.CONTENT,
        r"virus", r"malware", r"phish", r"attachment",
        r"message (size|too (large|big)|exceeds)",
        r"exceeds (the )?(maximum |fixed )?(message )?size", r"size limit",
        r"too large", r"content[- ](reject|not accept|filter)",
        r"\burl\b.*(block|reject)", r"invalid (mime|header)", r"not rfc",
        r"line(s)? (too|is) long", r"non-?ascii", r"smtputf8",
    ),
    _text(
        Class.POLICY,
        r"\bpolic(y|ies)\b", r"prohibited", r"(?<!relay )access denied",
        r"not (allowed|authori[sz]ed) to (send|deliver)", r"grey-?list", r"rate limit",
        r"too many (messages|connec)", r"throttl", r"too fast", r"volume", r"blocked",
        r"\bbanned\b", r"forbidden", r"not permitted",
        r"reject(ed)? (by|due to) (the )?(recipient|user|rule|filter)", r"restrict",
        r"approved|approval", r"only (accepts|members|internal)",
        r"requires? (that )?(all )?senders", r"challenge",
        r"receiving mail (at a rate|too quickly)",
    ),
    _text(
        Class.SENDER,
        r"sender (address )?(verif|reject|refus|unknown|invalid|denied|not exist)",
        r"(bad|invalid|unknown) (sender|return path|reverse-path)",
        r"(cannot|could not|unable to) verify.{0,20}sender", r"callout",
        r"domain of sender", r"sender domain",
    ),
    _text(
        Class.ROUTING,
        r"\brelay(ing)? (access )?(is )?(denied|not|prohib|disallow)",
        r"(unable to|cannot|do(es)? not|won't) relay", r"mail (routing )?loop",
        r"loops? (back|detected)", r"too many hops", r"hop count",
        r"not (a )?local(ly)?\b", r"rcpthosts", r"not hosted here", r"does not serve",
    ),
    _text(
        Class.FULL,
        r"over ?-?quota", r"quota (\S+ )?(exceed|is full|full|reached|violat)",
        r"exceed(s|ed|ing)? (\S+ ){0,3}quota", r"quotaexceeded", r"\bdisk quota\b",
        (
            r"(mailbox|mail box|inbox|account|user|folder)('s)? (\S+ ){0,3}(is |was "
            r")?(full\b|has exceeded)"
        ),
        r"mailbox (size|storage) (limit|exceed)",
        r"(storage|space) (\S+ ){0,2}(exceed|limit|full)",
        r"out of (storage|disk) space", r"not enough (storage|space|room)",
        r"insufficient (disk )?space", r"too much mail", r"overdrawn",
        r"\bfull mailbox\b",
    ),
    _text(
        Class.INACTIVE,
        (
            r"(account|mailbox|user|recipient|address)('s)? (\S+ ){0,5}(is |has been "
            r"|was )?(temporarily )?(disabled|suspended|inactive|deactivated|locked"
            r"|closed|expired|terminated|cancell?ed|discontinued|frozen)"
        ),
        (
            r"(disabled|suspended|inactive|deactivated|closed|expired|dormant) "
            r"(account|mailbox|user|recipient|email|e-mail)"
        ),
        (
            r"no longer (\S+ ){0,3}(works?|active|valid|in use|available|accept"
            r"|employ|with us|at this|exist)"
        ),
        r"not been (used|active)", r"mailbox (is )?not active", r"user has moved",
        r"left the (company|organi[sz]ation)",
    ),
    _text(
        Class.BAD_DOMAIN,
        r"null ?mx", r"does ?n[o']t accept (any )?(e-?)?mail",
        r"domain (\S+ )?(does ?n[o']t accept|accepts no) mail",
        r"domain (name )?(is )?(invalid|unknown)",
        r"(bad|invalid|unknown) (destination )?(domain|host)\b", r"not a valid domain",
        r"bad destination system",
    ),
    _text(
        Class.NO_HOST,
        r"(host|domain|name)( or domain)?( name)? (\S+ )?(was )?not found",
        r"host unknown", r"name service error", r"\bnxdomain\b", r"no such domain",
        r"name or service",
        r"(no|unable to (find|lookup)|could ?n[o']t find)( \S+){0,2} (mx|host)\b",
        r"neither mx nor", r"dns (lookup |type )?(error|fail|server)", r"unrout",
        r"could ?n[o']t (be )?(resolved?|look)", r"domain (\S+ )?does ?n[o']t exist",
        r"no route to host", r"host is unreachable", r"mx (record )?lookup",
    ),
    _text(
        Class.BAD_ADDRESS,
        (
            r"(user|recipient|mailbox|account|address|alias|person|customer"
            r"|subscriber)('s)?( \S+){0,3} (was |is |were |are )?(not found|not known"
            r"|unknown|does ?n[o']t exist|did ?n[o']t exist|not exist|not listed|not "
            r"available here|undeliverable|ambiguous|couldn[o']t be found|wasn[o']t "
            r"found|invalid|not valid)"
        ),
        (
            r"(unknown|invalid|no such|non-?existent|bad|not a valid|unrecogni[sz]ed"
            r"|illegal) (local )?(user|recipient|mailbox|address|account|person|email"
            r"|e-mail|alias|customer|destination (mailbox|address)|local part)"
        ),
        r"no mailbox( \S+){0,2} (here|by that|with)",
        r"mailbox (not found|for \S+ not)",
        r"does ?n[o']t have a(n)?( \S+){0,2} (account|mailbox)", r"nosuchuser",
        r"recipientnotfound", r"recipnotfound", r"recipient not found",
        r"unknown to us",
        (
            r"(email|e-mail|addresses?)( \S+){0,6} (could ?n[o']t be found|does "
            r"?n[o']t exist|not found|unknown)"
        ),
        r"no (such|valid) (user|recipient|one|mailbox)", r"not our customer",
        r"no account (by|with|for)", r"user not here", r"delivery error: dd",
        r"could ?n[o']t be found, or", r"nobody (here )?by that",
        r"5\.5\.0 requested action not taken: mailbox unavailable",
        r"not a (known|valid) (user|mailbox|address)", r"user_unknown", r"no user\b",
    ),
    _text(
        Class.EXPIRED,
        (
            r"(retry|queue|delivery|message) (time(out)? )?(not reached for any host"
            r"|exceeded|expired|lifetime)"
        ),
        r"expired", r"giving up", r"gave up",
        r"(not|n[o']t) (been )?(be )?delivered (within|for|after|in)\b",
        r"in the queue too long", r"undeliverable for", r"max(imum)? retry",
    ),
    _text(
        Class.TRANSIENT,
        r"try (again|later)", r"temporar", r"timed? ?-?out",
        r"connection (refused|lost|reset|dropped)",
        r"insufficient system (storage|resources)",
        r"service (unavailable|not available)", r"system (error|config|is not)",
        r"not respond", r"i/o error",
    ),
)  # fmt: skip
