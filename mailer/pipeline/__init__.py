"""The steps of the path: each reads, decides and writes, and owns its transactions."""

from mailer.store import database

Pool = database.Pool  # what the entrances hand to a step, and never open themselves
