"""``mailer provider``: who receives mail, what they bear, what their replies mean."""

from __future__ import annotations

import sys

import click

from mailer import runtime, settings
from mailer.cli import lane
from mailer.cli.context import Context, json_option, pass_context, show_json
from mailer.pipeline import shaping

source_option = click.option(
    "--source", metavar="NAME", help="As it is for this source of the settings."
)


def _settings(ctx: Context) -> settings.Settings:
    """Read the settings; what needs no database does not start one."""
    return settings.load(ctx.root.resolve())


@click.group()
def provider() -> None:
    """See the mailbox providers: who receives a domain, how fast, what replies mean.

    \b
    Example: mailer provider list
    """


@provider.command("list")
@source_option
@json_option
@pass_context
def list_(ctx: Context, *, source: str | None, as_json: bool) -> None:
    """List the providers and what each bears; * marks what is not as shipped.

    \b
    Example: mailer provider list --source relay
    """
    found = shaping.listed(_settings(ctx), source=source)
    if as_json:
        show_json(found)
        return
    from mailer.cli import tables

    tables.show(tables.providers(found))


@provider.command()
@click.argument("name")
@json_option
@pass_context
def show(ctx: Context, *, name: str, as_json: bool) -> None:
    """Show one provider: how it is known, its limits, for each source, its replies.

    \b
    Example: mailer provider show yahoo
    """
    found = shaping.show(_settings(ctx), name)
    if as_json:
        show_json(shaping.document(found))
        return
    from mailer.cli import tables

    tables.show_provider(found)


@provider.command()
@click.argument("domain")
@click.option("--fresh", is_flag=True, help="Ask the DNS, whatever is remembered.")
@json_option
@pass_context
def resolve(ctx: Context, *, domain: str, fresh: bool, as_json: bool) -> None:
    """Say who receives the mail of DOMAIN (or of an address), and why.

    All its MX hosts decide together; the hint of config/providers.toml is what is
    left when the DNS cannot say.  Exits 1 when the domain takes no mail.

    \b
    Example: mailer provider resolve example.org --fresh
    """
    from mailer.pipeline import resolving  # dnspython: 0.1 s

    async def step(workspace: runtime.Workspace) -> resolving.Resolved:
        return await resolving.resolve(
            workspace.pool, workspace.settings, domain, fresh=fresh
        )

    resolving.domain(domain)  # before a database is started for nonsense
    found = ctx.run(step, needs_database=False, is_brief=True)
    if as_json:
        show_json(found)
    else:
        from mailer.cli import tables

        tables.show_domain(found)
    if found.takes_none:
        click.get_current_context().exit(1)


@provider.command()
@click.argument("reply")
@click.option(
    "--provider",
    "name",
    metavar="NAME",
    default="other",
    show_default=True,
    help="Who said it.",
)
@click.option(
    "--stage",
    type=click.Choice(list(shaping.STAGES)),
    default="dot",
    show_default=True,
    help="What it answers; dot is the end of the message.",
)
@source_option
@json_option
@pass_context
def explain(
    ctx: Context,
    *,
    reply: str,
    name: str,
    stage: str,
    source: str | None,
    as_json: bool,
) -> None:
    """Say what REPLY means: for the message, for the lane, for the person.

    REPLY is what the server said, in quotes, of one line or many; - reads it from
    standard input.

    \b
    Example: mailer provider explain "421 4.7.28 Our system has …" --provider google
    """
    text = sys.stdin.read(shaping.LONGEST + 1) if reply == "-" else reply
    found = shaping.explain(_settings(ctx), text, name=name, stage=stage, source=source)
    if as_json:
        show_json(found)
        return
    from mailer.cli import tables

    tables.show_meaning(found)


@provider.command()
@click.argument("name", required=False)
@click.option("--source", metavar="NAME", help="Only the lanes of this source.")
@json_option
@pass_context
def lanes(ctx: Context, *, name: str | None, source: str | None, as_json: bool) -> None:
    """Show the lanes as they stand: how fast, over how many connections, or why not.

    A lane is a provider and a source; with NAME, only those of one provider.

    \b
    Example: mailer provider lanes google
    """

    async def step(workspace: runtime.Workspace) -> list[shaping.Lane]:
        return await shaping.lanes_of(
            workspace.pool, workspace.settings, name=name, source=source
        )

    found = ctx.run(step)
    if as_json:
        show_json(found)
        return
    from mailer.cli import tables

    tables.show_lanes(found)


@provider.command()
@click.argument("segment", default="everyone")
@click.option("--fresh", is_flag=True, help="Ask the DNS, whatever is remembered.")
@click.option(
    "--limit",
    type=click.IntRange(0, 100_000),
    default=20,
    show_default=True,
    help="Domains named of each kind.",
)
@json_option
@pass_context
def audit(
    ctx: Context, *, segment: str, fresh: bool, limit: int, as_json: bool
) -> None:
    """Count the people of SEGMENT by who receives them, and name odd domains.

    Odd are domains whose MX is not that of the provider that is hinted, and those
    that take no mail.  What is learned is kept, and decides at the next launch in
    whose lane a domain goes out.  Without DNS the hints are counted.

    \b
    Example: mailer provider audit active-donors
    """
    from mailer.cli import tables
    from mailer.pipeline import resolving  # dnspython: 0.1 s

    async def step(workspace: runtime.Workspace) -> resolving.Audit:
        with tables.Bar("domains") as bar:
            return await resolving.audit(
                workspace.pool,
                workspace.settings,
                root=workspace.root,
                name=segment,
                fresh=fresh,
                progress=bar.show,
            )

    try:
        found = ctx.run(step)
    except KeyboardInterrupt:
        message = "Stopped: what was learned is kept; the same command goes on."
        click.echo(message, err=True)
        raise SystemExit(1) from None
    if as_json:
        show_json(found)
        return
    tables.show_audit(found, limit=limit)


for _command in (lane.release, lane.halt, lane.history):
    provider.add_command(_command)

COMMANDS: dict[str, click.Command] = {"provider": provider}
