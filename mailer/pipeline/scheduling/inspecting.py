"""What a preflight looks at around a blast: disks, database, processes, alarms."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mailer.core.alarm import Alarm, Kind, Severity
from mailer.pipeline.scheduling.finding import Finding
from mailer.settings.alarms import Alarms
from mailer.store.processes import Alive, Connections

ROW_BYTES = 600  # of the ledger, its indexes and the journal, for a recipient
FREE_BYTES = 500_000_000  # that must stay free beside it

JOURNAL = Path(".mailer", "journal")

# While they last, nothing is sent or what comes back is lost, whatever the blast.
_FATAL = frozenset({Kind.JOURNAL, Kind.DATABASE, Kind.SPOOL, Kind.OUTDATED})


def disk(root: Path, people: int) -> Finding:
    """Look at the disk of the workspace, and at the journal's if it is another."""
    wanted = people * ROW_BYTES + FREE_BYTES
    folders = {".": root}
    places = (root / JOURNAL, (root / JOURNAL).parent, root)
    journal = next(one for one in places if one.is_dir())
    if journal.stat().st_dev != root.stat().st_dev:
        folders[str(JOURNAL)] = journal
    free = {name: shutil.disk_usage(one).free for name, one in folders.items()}
    said = [
        f"{size / 1e9:.1f} GB free" + (f" in {name}" if name != "." else "")
        for name, size in free.items()
    ]
    return Finding(
        name="disk",
        is_ok=min(free.values()) >= wanted,
        text=f"{', '.join(said)}, about {wanted / 1e9:.1f} GB wanted",
    )


def connections(known: Connections) -> Finding:
    """Look whether the database allows as many connections as are wanted."""
    workers = os.cpu_count() or 1
    wanted = (workers + 2) * 10
    return Finding(
        name="database connections",
        is_ok=known.limit >= wanted,
        text=f"{known.limit} allowed, {known.used} used, about {wanted} wanted here",
    )


def processes(alive: Sequence[Alive], fingerprint: str) -> Finding:
    """Look whether a worker runs, and all have our settings and keys."""
    strange = [one for one in alive if one.fingerprint != fingerprint]
    if strange:
        names = ", ".join(f"{one.kind} on {one.host} ({one.pid})" for one in strange)
        text = f"other settings or keys than here: {names}: restart them"
        return Finding(name="processes", is_ok=False, text=text)
    counts = Counter(one.kind for one in alive)
    if not counts["worker"]:
        text = "no worker runs: start one with `mailer run`"
        return Finding(name="processes", is_ok=False, is_warning=True, text=text)
    text = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    return Finding(name="processes", is_ok=True, text=f"{text}, same settings and keys")


def alarms(chosen: Alarms, found: Sequence[Alarm]) -> Finding:
    """Look what is wrong already, and whether anybody would be told on the night.

    An alarm that stops all sending fails the preflight, until it is over or taken.
    """
    count = len(chosen.addresses)
    text = f"{count} told; try it before the night: mailer doctor --alarm"
    if not count:
        text = "nobody is told when it stands still: set email or webhook in [alarms]"
    loud = [
        one
        for one in found
        if one.severity is Severity.CRITICAL and one.kind is not Kind.TEST
    ]
    is_fatal = any(one.kind in _FATAL and one.taken_by is None for one in loud)
    lines = [f"open: {one.happened} (mailer alarm take {one.id})" for one in loud]
    return Finding(
        name="alarms",
        is_ok=bool(count) and not loud,
        is_warning=not is_fatal and (not count or bool(loud)),
        text="\n".join([*lines, text]),
    )
