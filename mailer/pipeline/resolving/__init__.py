"""Who receives the mail of domains: asked of the DNS, kept, and compared with hints.

What was learned decides at the next launch in whose lane the people of a domain go out,
also behind a relay; what sends directly looks again right before it sends.
"""

from mailer.pipeline.resolving.auditing import Audit, Odd, Share, audit
from mailer.pipeline.resolving.looking import Host, Resolved, domain, resolve
from mailer.pipeline.resolving.refreshing import refresh

__all__ = [
    "Audit",
    "Host",
    "Odd",
    "Resolved",
    "Share",
    "audit",
    "domain",
    "refresh",
    "resolve",
]
