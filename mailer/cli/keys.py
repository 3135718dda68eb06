"""``mailer keys``: make what signs mail."""

from __future__ import annotations

import click

from mailer.cli import context
from mailer.core.signature import Algorithm
from mailer.settings import dkim, workspace


@click.group()
def keys() -> None:
    """Make keys that sign mail.

    \b
    Example: mailer keys dkim --domain example.org --selector s2026
    """


@keys.command("dkim")
@click.option("--domain", required=True, help="The domain of your From address.")
@click.option(
    "--selector", required=True, help="A label of your choice, new each time."
)
@click.option("--ed25519", is_flag=True, help="For a second signature beside RSA's.")
@context.json_option
@context.pass_context
def dkim_(
    ctx: context.Context, domain: str, selector: str, ed25519: bool, as_json: bool
) -> None:
    """Make a DKIM key, and say what to publish and what to write in the settings.

    \b
    Example: mailer keys dkim --domain example.org --selector s2026
    """
    path, key = dkim.make(
        workspace.existing(ctx.root),
        domain=domain,
        selector=selector,
        algorithm=Algorithm.ED25519 if ed25519 else Algorithm.RSA,
    )
    if as_json:
        context.show_json({"file": path, "host": key.host, "record": key.record})
        return
    pieces = [key.record[at : at + 255] for at in range(0, len(key.record), 255)]
    text = " ".join(f'"{piece}"' for piece in pieces)
    click.echo(f"made    {path}: keep it secret, copy it to every machine\n")
    click.echo(f"Publish this record in DNS:\n\n{key.host}. IN TXT ( {text} )\n")
    click.echo(f"Then add to {workspace.SETTINGS}:\n")
    click.echo(f"[dkim.{key.name}]")
    click.echo(f'domain = "{key.domain}"')
    click.echo(f'selector = "{key.selector}"')
    click.echo(f'key = "{path}"')


COMMANDS: dict[str, click.Command] = {"keys": keys}
