"""The workspace's settings, read from TOML and the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a workspace says about itself."""

    database: str | None = None


def load(root: Path) -> Settings:
    """Read the settings of the workspace at *root*."""
    return Settings(database=os.environ.get("MAILER_DATABASE_URL"))
