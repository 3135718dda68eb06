"""Webhooks: what donation platforms and relays post to us.

One door: a size and a time for the body, the sender's proof before anything is read,
and 2xx only once it is on the disk.
"""

from mailer.web.hooks.actblue import Hooks
from mailer.web.hooks.relays import Relays

__all__ = ["Hooks", "Relays"]
