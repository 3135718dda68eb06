from contextlib import suppress
from pathlib import Path

import structlog

from mailer import cli


def test_a_log_on_a_full_disk_ends_nobody() -> None:
    full = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115 -- see below
    log = structlog.PrintLogger(file=cli.lossy(full))
    for _ in range(3):
        log.warning("a line")
    with suppress(OSError):  # it still has a line that it cannot get rid of
        full.close()
