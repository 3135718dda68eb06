"""``mailer keys``: what signs mail, and what seals the links in it."""

from __future__ import annotations

import hashlib
import os

import click

from mailer import errors
from mailer.cli import context
from mailer.core import signature
from mailer.core.signature import Algorithm
from mailer.settings import dkim, secret, workspace

LABEL = 63  # octets; RFC 1035 §2.3.4


@click.group()
def keys() -> None:
    """Make keys that sign mail, and change those that seal its links.

    \b
    Example: mailer keys dkim --domain example.org --selector s2026
    """


def _selector(_ctx: click.Context, _option: click.Parameter, text: str) -> str:
    """Return a selector in lower case: labels as RFC 6376 §3.1 has them."""
    try:
        found = signature.labels(text.lower())
    except ValueError:
        found = ""
    if not found or max(map(len, found.split("."))) > LABEL:
        message = f'{errors.quote(text)} is no selector: write a label like "s2026"'
        raise click.BadParameter(message)
    return found


@keys.command("dkim")
@click.option(
    "--domain",
    callback=lambda _ctx, _option, text: context.domain(text),
    required=True,
    help="The domain of your From address.",
)
@click.option(
    "--selector",
    callback=_selector,
    required=True,
    help="A label of your choice, new each time.",
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


@keys.command("list")
@context.json_option
@context.pass_context
def list_(ctx: context.Context, as_json: bool) -> None:
    """List the keys that seal links: by number and mark, never the key.

    \b
    Example: mailer keys list
    """
    ring = secret.ring(workspace.existing(ctx.root), environment=os.environ)
    found = [
        {
            "number": number,
            "mark": hashlib.sha256(key).hexdigest()[:8],
            "use": "opens"
            if number < ring.current
            else "signs and opens"
            if number == ring.current
            else "is prepared, opens",
        }
        for number, key in sorted(ring.keys.items())
    ]
    if as_json:
        context.show_json(found)
        return
    for one in found:
        click.echo(f"{one['number']:>3}  {one['mark']}  {one['use']}")


@keys.command()
@click.option("--prepare", is_flag=True, help="Let it open links first, not seal yet.")
@context.json_option
@context.pass_context
def rotate(ctx: context.Context, prepare: bool, as_json: bool) -> None:
    """Seal links with a new key from now on; links in older mail keep working.

    A running endpoint of this machine knows the new key within a second; workers use
    it after a restart.  With several machines: --prepare, copy the file to all of
    them, then rotate on each.

    \b
    Example: mailer keys rotate
    """
    root = workspace.existing(ctx.root)
    number, signs = secret.rotate(root, environment=os.environ, prepare=prepare)
    if as_json:
        context.show_json({"number": number, "signs": signs})
        return
    what = "seals links from the next start of the workers" if signs else "is prepared"
    click.echo(f"key {number} {what}; copy {secret.RING} to every machine")


COMMANDS: dict[str, click.Command] = {"keys": keys}
