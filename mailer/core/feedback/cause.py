"""Why a message came back: a few classes, of which three say that nobody is there.

What a server writes comes before its code, because providers misuse codes; what it
writes about spam, policy or authenticity comes first of all, so that no address pays
for our reputation.  Codes are those of RFC 3463, 5248, 7372 and 7505.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mailer.core.feedback.texts import TEXTS, Class

RULES = 1  # the version of these rules, kept with each event so that it can be redone

_LOOKED_AT = 1000  # characters
_ADDRESS = re.compile(r"\S{1,100}@\S{1,255}")
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_REPLY = re.compile(r"(?<![\d.#-])([45]\d\d)(?![\d.])")


class Cause(NamedTuple):
    """A class, and what it was told by."""

    kind: Class
    evidence: str


# RFC 3463 §3 by subject and detail; RFC 7505 §4.2 (1.10), RFC 7372 (7.20 to 7.26).
_CODES = {
    (1, 1): Class.BAD_ADDRESS, (1, 2): Class.BAD_DOMAIN, (1, 3): Class.BAD_ADDRESS,
    (1, 6): Class.INACTIVE, (1, 7): Class.SENDER, (1, 8): Class.SENDER,
    (1, 10): Class.BAD_DOMAIN,
    (2, 1): Class.INACTIVE, (2, 2): Class.FULL, (2, 3): Class.CONTENT,
    (2, 4): Class.ROUTING,
    (3, 4): Class.CONTENT,
    (4, 1): Class.TRANSIENT, (4, 2): Class.TRANSIENT, (4, 3): Class.NO_HOST,
    (4, 4): Class.NO_HOST, (4, 5): Class.TRANSIENT, (4, 6): Class.ROUTING,
    (4, 7): Class.EXPIRED,
    (5, 3): Class.TRANSIENT,  # too many recipients: "even if 5xx"
}  # fmt: skip
_SUBJECTS = {
    3: Class.TRANSIENT, 5: Class.TRANSIENT, 6: Class.CONTENT, 7: Class.POLICY,
}  # fmt: skip


def classify(status: str, text: str) -> Cause:
    """Return the class of a refusal by its status (RFC 3463) and what was written.

    The addresses in *text* say nothing: whoever is called nospam@ is no spam.
    """
    text = _ADDRESS.sub("@", text[:_LOOKED_AT])
    is_permanent = _is_permanent(status, text)
    for one in TEXTS:
        match = one.search(text)
        if match is not None and (is_permanent or not one.kind.suppresses):
            return Cause(one.kind, f'the text says "{match[0][:80]}"')
    found = _STATUS.findall(f"{status} {text}")
    # What stands in the text is the server's own code, more exact than the report's.
    for level, subject, detail in [*found[1:], *found[:1]]:
        kind_of = _coded(int(subject), int(detail))
        code = f"{level}.{subject}.{detail}"
        if kind_of is Class.UNKNOWN:
            continue
        if kind_of.suppresses and level != "5":
            return Cause(Class.TRANSIENT, f"status {code}, not for good")
        return Cause(kind_of, f"status {code}")
    if not is_permanent:
        return Cause(Class.TRANSIENT, f"status {status}" if status else "not for good")
    return Cause(Class.UNKNOWN, f"status {status}" if status else "no code is known")


def _coded(subject: int, detail: int) -> Class:
    if subject == 7 and detail in range(20, 41):
        return Class.AUTHENTICATION
    if subject == 7 and detail == 515:  # Microsoft: 5.7.515, authentication level
        return Class.AUTHENTICATION
    return _CODES.get((subject, detail), _SUBJECTS.get(subject, Class.UNKNOWN))


def _is_permanent(status: str, text: str) -> bool:
    """Tell whether the refusal is for good: by the server's code, else the report's."""
    reply = _REPLY.search(text)
    if reply is not None:
        return reply[1].startswith("5")
    found = _STATUS.search(text)
    if found is not None:
        return found[1] == "5"
    return status.startswith("5")
