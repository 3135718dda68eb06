from pathlib import Path

import pytest

from mailer import errors, runtime
from mailer.runtime import running
from tests import signers, sources


async def test_workers_sign_with_the_keys_of_the_settings(workspace: Path) -> None:
    signers.write(workspace / "s.pem")
    with (workspace / "config/settings.toml").open("a") as file:
        file.write('[dkim.s]\ndomain = "example.org"\nselector = "s"\nkey = "s.pem"\n')

    async with runtime.opened(workspace) as opened:
        house = running.setup(opened).house

    assert [key.host for key in house.signers] == ["s._domainkey.example.org"]


DIRECT = """
[source.{name}]
kind = "direct"
helo = "{name}.example.org"
address = "{address}"
"""


def directly(workspace: Path, **addresses: str) -> None:
    tables = (DIRECT.format(name=one, address=at) for one, at in addresses.items())
    sources.write(workspace, "".join(tables))


async def test_a_worker_leaves_alone_what_sends_from_another_machine(
    workspace: Path,
) -> None:
    directly(workspace, here="127.0.0.9", there="203.0.113.5")

    async with runtime.opened(workspace) as opened:
        setup = running.setup(opened)

    assert [source.name for source in setup.sources] == ["here"]
    assert setup.router is not None
    assert len(opened.settings.sources) == 2


async def test_a_machine_from_which_nothing_sends_says_so(workspace: Path) -> None:
    directly(workspace, there="203.0.113.5")

    async with runtime.opened(workspace) as opened:
        with pytest.raises(
            errors.Unavailable, match=r"^\[source\.there\] address 203\.0\.113\.5: no"
        ):
            running.setup(opened)
