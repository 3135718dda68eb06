import errno
import io
from typing import NoReturn

from mailer import cli
from mailer.cli import suppress  # a name that cli itself must not mean otherwise


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, text: str) -> NoReturn:
        raise OSError(errno.ENOSPC, f"no room for {text}")

    def flush(self) -> NoReturn:
        raise OSError(errno.ENOSPC, "nor for what it holds")


def test_a_log_on_a_full_disk_ends_nobody() -> None:
    assert suppress.COMMANDS
    log = cli.lossy(Full())
    print("a line", file=log, flush=True)
