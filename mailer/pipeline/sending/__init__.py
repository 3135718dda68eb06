"""Send what is owed: lease, render, journal, SMTP, outcome, settle."""

from mailer.pipeline.sending.content import House
from mailer.pipeline.sending.entry import Setup
from mailer.pipeline.sending.routing import here
from mailer.pipeline.sending.worker import work

__all__ = ["House", "Setup", "here", "work"]
