"""Run the command line as ``python -m mailer``."""

from mailer.cli import main

if __name__ == "__main__":
    main()
