"""Alarms: notice what stands still, tell people, and let them take it."""

from mailer.pipeline.alarming.observing import Observer
from mailer.pipeline.alarming.raising import clear, raise_
from mailer.pipeline.alarming.taking import Listed, listed, take
from mailer.pipeline.alarming.telling import Caller, Post, Told, deliver, speak, try_out
from mailer.pipeline.alarming.watching import Watcher

__all__ = [
    "Caller",
    "Listed",
    "Observer",
    "Post",
    "Told",
    "Watcher",
    "clear",
    "deliver",
    "listed",
    "raise_",
    "speak",
    "take",
    "try_out",
]
