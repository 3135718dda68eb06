"""Open lanes that a provider's refusal has closed, or close one; and read their steps.

A lane is named as it is shown: ``google/relay``, the provider and the source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mailer import errors
from mailer.core import controller
from mailer.core.alarm import Kind
from mailer.core.lane import CLOSED, Mode, State, Transition
from mailer.store import alarms, blasts, database, lanes
from mailer.store.lanes import Lane, Step

__all__ = ["Lane", "Step", "halt", "history", "release"]

Moved = tuple[State, tuple[Transition, ...]]


async def release(
    pool: database.Pool, name: str, *, actor: str, why: str | None = None
) -> lanes.Lane:
    """Open a closed lane: a message now and then, and more when that goes well.

    Raises NotFound when there is no such lane, Conflict when it is not closed.
    """

    def move(found: lanes.Locked) -> Moved:
        if found.state.mode not in CLOSED:
            message = f"lane {name} is {_word(found.state.mode)}: nothing to release"
            raise errors.Conflict(message)
        assert found.limits is not None
        return controller.release(found.state, limits=found.limits, now=found.now)

    said = f"{actor} released it" + (f": {why}" if why else "")
    return await _moved(pool, name, move, actor=actor, why=why, cleared=said)


async def halt(pool: database.Pool, name: str, *, actor: str, why: str) -> lanes.Lane:
    """Close a lane until it is released.

    Raises NotFound when there is no such lane, Conflict when it is halted.
    """

    def move(found: lanes.Locked) -> Moved:
        if found.state.mode is Mode.HALTED:
            message = f"lane {name} is halted: {found.state.reason}"
            raise errors.Conflict(message)
        assert found.limits is not None
        reason = f"{actor}: {why}"
        return controller.halt(found.state, reason, limits=found.limits, now=found.now)

    return await _moved(pool, name, move, actor=actor, why=why, cleared=None)


async def history(
    pool: database.Pool,
    *,
    provider: str | None = None,
    source: str | None = None,
    limit: int = 100,
) -> Sequence[lanes.Step]:
    """Return the latest steps of lanes, the newest first, each with what caused it."""
    async with database.connection(pool) as tx:
        return await lanes.transitions(
            tx, provider=provider, source=source, limit=limit
        )


async def _moved(
    pool: database.Pool,
    name: str,
    move: Callable[[lanes.Locked], Moved],
    *,
    actor: str,
    why: str | None,
    cleared: str | None,
) -> lanes.Lane:
    provider, _, source = name.partition("/")
    async with database.transaction(pool) as tx:
        found = await lanes.lock(tx, provider=provider, source=source)
        if found is None or found.limits is None:
            known = [
                f"{one.provider}/{one.source}" for one in await lanes.everything(tx)
            ]
            message = f"there is no lane {errors.quote(name)}: "
            raise errors.NotFound(message + _nearest(name, known))
        state, steps = move(found)
        await lanes.save(tx, found, state, steps)
        await blasts.audit(
            tx,
            actor=actor,
            object=f"lane {name}",
            action="release" if cleared else "halt",
            before=found.state.mode.value,
            after=state.mode.value,
            why=why,
        )
        if cleared:
            await alarms.clear(tx, Kind.LANE, f"lane {name}", why=cleared)
        after = await lanes.everything(tx)
    return next(
        one for one in after if (one.provider, one.source) == (provider, source)
    )


def _nearest(name: str, known: Sequence[str]) -> str:
    if not known:
        return "lanes are made when a worker starts (mailer run)"
    return errors.nearest(name, known)


def _word(mode: Mode) -> str:
    return mode.value.replace("_", " ")
