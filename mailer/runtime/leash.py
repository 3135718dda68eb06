"""End with whoever started us: a child that was forgotten is in nobody's way."""

from __future__ import annotations

import os
import signal
import threading


def follow() -> None:
    """Have SIGTERM come when standard input ends, as it does when its writer dies."""

    def wait() -> None:
        while os.read(0, 4096):  # no lock of sys.stdin's: we may end while it waits
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="leash", daemon=True).start()
