"""``mailer doctor``: is everything published that our mail needs?"""

from __future__ import annotations

import asyncio

import click

from mailer import settings
from mailer.cli import context


@click.command()
@click.option(
    "--domain", "domains", multiple=True, help="Another domain that mail is from."
)
@context.json_option
@context.pass_context
def doctor(ctx: context.Context, domains: tuple[str, ...], as_json: bool) -> None:
    """Compare what is published in DNS with what we send; exit 1 if it is wrong.

    It looks at DKIM keys, SPF, DMARC and MX of the From domain, and at the reverse
    names of sources that send directly.

    \b
    Example: mailer doctor --domain news.example.org
    """
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


COMMANDS: dict[str, click.Command] = {"doctor": doctor}
