"""Rehearse a blast: all of it, against the simulated providers, nothing outside."""

from mailer.pipeline.rehearsing.copying import Copy, copy
from mailer.pipeline.rehearsing.judging import (
    Compared,
    Report,
    Seen,
    judge,
    look,
    write_failures,
)
from mailer.pipeline.rehearsing.playing import Play, playing

__all__ = [
    "Compared",
    "Copy",
    "Play",
    "Report",
    "Seen",
    "copy",
    "judge",
    "look",
    "playing",
    "write_failures",
]
