"""``mailer blast``: what a team does with a blast, from its file to its end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click

from mailer import errors, runtime
from mailer.cli import correcting, looking, rehearse
from mailer.cli.context import Context, json_option, pass_context, show_json
from mailer.cli.looking import desk, say
from mailer.core import blast as blasts
from mailer.pipeline import scheduling

why_option = click.option("--why", help="The reason, for the audit.")
anyway_option = click.option(
    "--anyway", is_flag=True, help="Even if it cannot be done before it expires."
)


@click.group()
def blast() -> None:
    """Write, proof, approve, schedule and watch blasts.

    \b
    Example: mailer blast new eoq-final-hours
    """


@blast.command()
@click.argument("name")
@json_option
@pass_context
def new(ctx: Context, name: str, as_json: bool) -> None:
    """Write blasts/NAME.toml to begin with, unless it is there, and add the blast.

    \b
    Example: mailer blast new eoq-final-hours
    """

    async def step(workspace: runtime.Workspace) -> scheduling.Blast:
        return await scheduling.new(desk(ctx, workspace), name)

    found = ctx.run(step)
    say(found, as_json=as_json)
    if not as_json:
        click.echo(f"Edit {found.file}, then: mailer blast check {found.name}")


@blast.command()
@click.argument("name")
@json_option
@pass_context
def check(ctx: Context, name: str, as_json: bool) -> None:
    """Read the files of a blast and say what is wrong with them.

    \b
    Example: mailer blast check eoq-final-hours
    """

    async def step(workspace: runtime.Workspace) -> scheduling.Blast:
        found, _ = await scheduling.check(desk(ctx, workspace), name)
        return found

    found = ctx.run(step)
    say(found, as_json=as_json)
    if not as_json:
        click.echo(f"Nothing is wrong with {found.file}.")


@blast.command()
@click.argument("name")
@click.option("--to", multiple=True, required=True, help="Who looks at it.")
@click.option("--like", help="The subscriber whose message it is; else the first.")
@json_option
@pass_context
def proof(
    ctx: Context, name: str, to: Sequence[str], like: str | None, as_json: bool
) -> None:
    """Send each variant to somebody who looks at it.

    \b
    Example: mailer blast proof eoq-final-hours --to ada@example.org
    """

    async def step(workspace: runtime.Workspace) -> list[scheduling.Proof]:
        at = desk(ctx, workspace)
        return await scheduling.proof(at, name, to=to, like=like, now=runtime.now())

    sent = ctx.run(step)
    if as_json:
        show_json(sent)
        return
    for one in sent:
        click.echo(f'{one.variant:16} to {one.to}: "{one.subject}"')
    click.echo(f"As {sent[0].like} would get it.  Next: mailer blast preflight {name}")


@blast.command()
@click.argument("name")
@json_option
@pass_context
def preflight(ctx: Context, name: str, as_json: bool) -> None:
    """Look at everything that could go wrong, and render every recipient.

    \b
    Example: mailer blast preflight eoq-final-hours
    """

    async def step(workspace: runtime.Workspace) -> scheduling.Preflight:
        at = desk(ctx, workspace)
        return await scheduling.preflight(at, name, now=runtime.now())

    result = ctx.run(step)
    if as_json:
        show_json(result)
    else:
        _show_preflight(result)
    if not result.has_passed:
        message = f"{result.blast} did not pass the preflight"
        raise errors.Conflict(message)


def _show_preflight(result: scheduling.Preflight) -> None:
    for one in result.findings:
        mark = "ok  " if one.is_ok else "warn" if one.is_warning else "NO  "
        first, *more = one.text.splitlines()
        click.echo(f"{mark} {one.name:21} {first}")
        for line in more:
            click.echo(f"{'':26} {line}")
    for failure in result.failures:
        click.echo(f"     {failure.email} ({failure.variant}): {failure.reason}")
    if result.has_passed:
        step = "approve" if result.is_proofed else "proof"
        to = "" if result.is_proofed else " --to YOU"
        click.echo(f"Next: mailer blast {step} {result.blast}{to}")


@blast.command()
@click.argument("name")
@why_option
@json_option
@pass_context
def approve(ctx: Context, name: str, why: str | None, as_json: bool) -> None:
    """Say that exactly this content may go out; any edit voids it.

    \b
    Example: mailer --as grace blast approve eoq-final-hours
    """

    async def step(workspace: runtime.Workspace) -> scheduling.Blast:
        return await scheduling.approve(desk(ctx, workspace), name, why=why)

    say(ctx.run(step), as_json=as_json)


@blast.command()
@click.argument("name")
@click.option(
    "--at", metavar="INSTANT", help="Instead of send_at: 2026-12-31T18:00-05."
)
@anyway_option
@json_option
@pass_context
def schedule(
    ctx: Context, name: str, at: str | None, anyway: bool, as_json: bool
) -> None:
    """Have an approved blast start at its send_at.

    One that cannot be done before it expires is refused, with the latest start that
    would be in time.

    \b
    Example: mailer blast schedule eoq-final-hours --at 2026-12-31T18:00:00-05:00
    """
    instant = _instant(at) if at else None

    async def step(workspace: runtime.Workspace) -> scheduling.Blast:
        at = desk(ctx, workspace)
        return await scheduling.schedule(
            at, name, now=runtime.now(), at=instant, anyway=anyway
        )

    say(ctx.run(step), as_json=as_json)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        message = f'"{text}" is no instant: write 2026-12-31T18:00:00-05:00'
        raise click.BadParameter(message, param_hint="--at") from error
    if instant.tzinfo is None:
        message = f'"{text}" has no offset: add one, like -05:00'
        raise click.BadParameter(message, param_hint="--at")
    return instant


@blast.command()
@click.argument("name")
@anyway_option
@json_option
@pass_context
def send(ctx: Context, name: str, anyway: bool, as_json: bool) -> None:
    """Start an approved blast now.

    One that cannot be done before it expires is refused.

    \b
    Example: mailer blast send eoq-final-hours
    """

    async def step(workspace: runtime.Workspace) -> scheduling.Blast:
        at = desk(ctx, workspace)
        return await scheduling.send(at, name, now=runtime.now(), anyway=anyway)

    say(ctx.run(step), as_json=as_json)


def _mover(move: blasts.Move, help: str) -> click.Command:
    @click.command(name=move.value, help=help)
    @click.argument("name")
    @why_option
    @json_option
    @pass_context
    def command(ctx: Context, name: str, why: str | None, as_json: bool) -> None:
        async def step(workspace: runtime.Workspace) -> scheduling.Blast:
            at = desk(ctx, workspace)
            return await scheduling.move(at, name, move, why=why)

        say(ctx.run(step), as_json=as_json)

    return command


for _move, _help in (
    (blasts.Move.PAUSE, "Stop a blast within a second; it can go on.\n\n\b\n"),
    (blasts.Move.RESUME, "Let a paused blast go on where it was.\n\n\b\n"),
    (blasts.Move.CANCEL, "Stop a blast for good.\n\n\b\n"),
):
    _example = f"Example: mailer blast {_move.value} eoq-final-hours --why typo"
    blast.add_command(_mover(_move, _help + _example))


@blast.command()
@click.argument("name")
@click.argument("emails", nargs=-1)
@click.option("--resend", is_flag=True, help="Send them again: some get two copies.")
@click.option("--mark-sent", is_flag=True, help="Say that they arrived.")
@json_option
@pass_context
def doubt(
    ctx: Context,
    *,
    name: str,
    emails: tuple[str, ...],
    resend: bool,
    mark_sent: bool,
    as_json: bool,
) -> None:
    """List the messages whose reply was never seen, or decide about them.

    They may have arrived: nothing is sent again by itself, unless the blast says
    in_doubt = "resend"; the list says when.  With --resend or --mark-sent, EMAILS
    are decided, or all of the blast.

    \b
    Example: mailer blast doubt eoq-final-hours
             mailer blast doubt eoq-final-hours ada@example.org --mark-sent
    """
    if resend and mark_sent:
        message = "--resend or --mark-sent, not both"
        raise click.UsageError(message)

    async def step(workspace: runtime.Workspace) -> object:
        at = desk(ctx, workspace)
        if resend:
            return await scheduling.resend(at, name, emails=emails)
        if mark_sent:
            return await scheduling.mark_sent(at, name, emails=emails)
        return await scheduling.in_doubt(at, name, emails=emails)

    found = ctx.run(step)
    if as_json:
        show_json(found)
    elif isinstance(found, list):
        _show_doubts(found)
    else:
        word = "to be sent again" if resend else "marked as sent"
        click.echo(f"{found} {word}")


def _show_doubts(found: Sequence[scheduling.Doubt]) -> None:
    for one in found:
        text = f"{one.email}  {one.provider}  {one.reply or ''}"
        if one.resend_at is not None:
            at = one.resend_at.astimezone()
            text += f"  (sent again from {at:%Y-%m-%d %H:%M %Z} on)"
        click.echo(text.rstrip())
    pending = sum(one.resend_at is not None for one in found)
    text = f"{len(found)} in doubt"
    if pending:
        text += f"; {pending} of them are sent again by themselves, unless you decide"
    click.echo(text)


for _command in (
    looking.list_,
    looking.show,
    looking.watch,
    rehearse.rehearse,
    correcting.link,
):
    blast.add_command(_command)

COMMANDS: dict[str, click.Command] = {"blast": blast}
