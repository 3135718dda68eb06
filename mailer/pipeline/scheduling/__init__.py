"""What a person does with a blast before and while it goes out."""

from mailer.pipeline.scheduling.doubting import mark_sent, resend
from mailer.pipeline.scheduling.moving import (
    Desk,
    approve,
    check,
    everything,
    get,
    move,
    new,
    schedule,
    send,
)
from mailer.pipeline.scheduling.preflighting import Preflight, preflight
from mailer.pipeline.scheduling.proofing import Proof, proof
from mailer.pipeline.scheduling.watching import Watched, listed, watch
from mailer.store.blasts import Blast
from mailer.store.lanes import Lane

__all__ = [
    "Blast",
    "Desk",
    "Lane",
    "Preflight",
    "Proof",
    "Watched",
    "approve",
    "check",
    "everything",
    "get",
    "listed",
    "mark_sent",
    "move",
    "new",
    "preflight",
    "proof",
    "resend",
    "schedule",
    "send",
    "watch",
]
