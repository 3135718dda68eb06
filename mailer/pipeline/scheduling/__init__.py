"""What a person does with a blast before and while it goes out."""

from mailer.pipeline.scheduling.doubting import Doubt, in_doubt, mark_sent, resend
from mailer.pipeline.scheduling.forecasting import (
    Asked,
    Forecaster,
    audience_of,
    paces,
)
from mailer.pipeline.scheduling.foretelling import RANGE, done_at, sentence, times
from mailer.pipeline.scheduling.moving import (
    Desk,
    approve,
    check,
    everything,
    get,
    move,
    new,
    peek,
    schedule,
    send,
)
from mailer.pipeline.scheduling.preflighting import Preflight, preflight
from mailer.pipeline.scheduling.proofing import Proof, proof
from mailer.pipeline.scheduling.watching import Watched, Watcher, count, listed, watch
from mailer.store.blasts import Blast
from mailer.store.lanes import Lane

__all__ = [
    "RANGE",
    "Asked",
    "Blast",
    "Desk",
    "Doubt",
    "Forecaster",
    "Lane",
    "Preflight",
    "Proof",
    "Watched",
    "Watcher",
    "approve",
    "audience_of",
    "check",
    "count",
    "done_at",
    "everything",
    "get",
    "in_doubt",
    "listed",
    "mark_sent",
    "move",
    "new",
    "paces",
    "peek",
    "preflight",
    "proof",
    "resend",
    "schedule",
    "send",
    "sentence",
    "times",
    "watch",
]
