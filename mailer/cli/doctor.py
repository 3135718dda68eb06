"""``mailer doctor``: is all published that our mail needs, do alarms reach people?"""

from __future__ import annotations

import asyncio
import secrets

import click

from mailer import runtime, settings
from mailer.cli import context


@click.command()
@click.option(
    "--domain",
    "domains",
    callback=lambda _ctx, _option, texts: tuple(map(context.domain, texts)),
    multiple=True,
    help="Another domain that mail is from.",
)
@click.option("--alarm", is_flag=True, help="Send a test alarm to everybody instead.")
@context.json_option
@context.pass_context
def doctor(
    ctx: context.Context, domains: tuple[str, ...], alarm: bool, as_json: bool
) -> None:
    """Compare what is published in DNS with what we send; exit 1 if it is wrong.

    It looks at DKIM keys, SPF, DMARC and MX of the From domain, and at the reverse
    names of sources that send directly.  With --alarm it sends a test alarm through
    every channel of [alarms], and exits 1 if one of them failed.

    \b
    Example: mailer doctor --domain news.example.org
    """
    if alarm:
        if domains:
            raise click.UsageError("--alarm looks at no domain: leave --domain out")
        _alarm(ctx, as_json=as_json)
        return
    from mailer.pipeline import examining  # dnspython: 0.1 s

    found = asyncio.run(
        examining.examine(settings.load(ctx.root.resolve()), domains=domains)
    )
    if as_json:
        context.show_json(found)
    else:
        for one in found:
            click.echo(f"{one.level:<4}  {one.name}: {one.text}")
    if any(one.level == "NO" for one in found):
        click.get_current_context().exit(1)


def _alarm(ctx: context.Context, *, as_json: bool) -> None:
    """Send a test alarm, and say channel by channel what became of it."""
    from mailer.pipeline import alarming
    from mailer.runtime import waking

    chosen = settings.load(ctx.root.resolve())
    step = alarming.try_out(
        waking.caller(chosen),
        who=ctx.actor,
        id=f"test-{secrets.token_hex(6)}",
        now=runtime.now(),
    )
    told = context.run(step)
    if as_json:
        context.show_json(told)
    for one in told if not as_json else ():
        level = "NO" if one.error else "ok"
        click.echo(f"{level:<4}  {one.channel} {one.address}: {one.error or _TAKEN}")
    if any(one.error for one in told):
        click.get_current_context().exit(1)


_TAKEN = "taken; look whether it arrived, and whether it would wake you"

COMMANDS: dict[str, click.Command] = {"doctor": doctor}
