"""Settings with other sources than the shipped relay."""

from __future__ import annotations

from pathlib import Path


def write(root: Path, tables: str) -> None:
    """Write *tables* into the settings of a workspace, in place of its relay."""
    path = root / "config/settings.toml"
    head, _, tail = path.read_text("utf-8").partition("[source.relay]")
    _, _, tail = tail.partition("\n# [source.direct]")
    path.write_text(f"{head}# {tail}\n{tables}", "utf-8")
