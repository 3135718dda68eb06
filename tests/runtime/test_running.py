from pathlib import Path

from mailer import runtime
from mailer.runtime import running
from tests import signers


async def test_workers_sign_with_the_keys_of_the_settings(workspace: Path) -> None:
    signers.write(workspace / "s.pem")
    with (workspace / "config/settings.toml").open("a") as file:
        file.write('[dkim.s]\ndomain = "example.org"\nselector = "s"\nkey = "s.pem"\n')

    async with runtime.opened(workspace) as opened:
        house = running.setup(opened).house

    assert [key.host for key in house.signers] == ["s._domainkey.example.org"]
