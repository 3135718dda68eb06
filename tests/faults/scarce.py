"""`mailer`, on a disk that takes files of so many bytes and no more.

    python scarce.py 4000 work

What it says goes nowhere: it would be a file too.
"""

from __future__ import annotations

import os
import resource
import sys

from mailer import cli

if __name__ == "__main__":
    size = int(sys.argv.pop(1))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    cli.main()
