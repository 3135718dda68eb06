"""`mailer`, which kills itself with -9 at a point of its own code that a test names.

    python dying.py spool/writer.py:write:return:25 work

Nothing of the program knows of it: the interpreter tells us of each call.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from mailer import cli


def arm(point: str) -> None:
    """Die when the function of *point* is called, or returns, so many times."""
    file, name, event, count = point.split(":")
    left = [int(count)]

    def seen(frame: FrameType, happened: str, _value: object) -> None:
        code = frame.f_code
        if (
            code.co_name == name
            and happened == event
            and code.co_filename.endswith(file)
        ):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(seen)


if __name__ == "__main__":
    arm(sys.argv.pop(1))
    cli.main()
