from pathlib import Path

import pytest

from mailer import errors, settings
from mailer.settings import workspace
from tests.receiver import SECRET

ENVIRONMENT = {"MAILER_ALARM_SECRET": SECRET}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    workspace.make(tmp_path / "team")
    return tmp_path / "team"


def load(root: Path, text: str, **environment: str) -> settings.Settings:
    path = root / "config/settings.toml"
    path.write_text(path.read_text("utf-8") + text, "utf-8")
    return settings.load(root, environment=environment)


def test_people_and_webhook_are_read(root: Path) -> None:
    found = load(
        root,
        'email = ["ada@example.org"]\nwebhook = "https://x.example.org/a?b=c"\n'
        'repeat = "5m"\nfailed = "2.5%"\nsource = "relay"\n',
        **ENVIRONMENT,
    ).alarms

    assert found.addresses == (
        ("webhook", "https://x.example.org/a?b=c"),
        ("email", "ada@example.org"),
    )
    assert (found.repeat.total_seconds(), found.share) == (300, 0.025)
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('email = ["ada"]', 'email "ada": write addresses, ["ada@example.org"]'),
        ('email = ["a@b.test\\nBcc: x@b.test"]', "write addresses"),
        ('email = ["a@b.test", "A@b.test"]', "an address is there twice"),
        ('webhook = "http://x.example.org"', "write an https:// address"),
        ('webhook = "ftp://x"', "write an https:// address"),
        ('repeat = "5s"', "repeat 5s: write 1m to 24h"),
        ('stalled = "1d"', "stalled 24h: write 1m to 6h"),
        ('failed = "0%"', "write a share above 0"),
        ('failed = "5"', '"5" is no share: write "20%"'),
        ('emails = ["a@b.test"]', 'unknown key: did you mean "email"?'),
        ('secret = "x"', "set MAILER_ALARM_SECRET or MAILER_ALARM_SECRET_FILE"),
        ('source = "relai"', "alarms.source: there is no [source.relai]: did you mean"),
    ],
)
def test_what_is_wrong_says_what_would_be_right(
    root: Path, text: str, message: str
) -> None:
    with pytest.raises(errors.Invalid) as caught:
        load(root, text + "\n", **ENVIRONMENT)

    assert message in str(caught.value)
    assert str(caught.value).startswith("config/settings.toml:")


def test_only_who_posts_needs_the_secret(root: Path) -> None:
    """Whoever takes an alarm does so in a shell that has no secrets."""
    found = load(root, 'webhook = "https://x.example.org"\n').alarms

    with pytest.raises(errors.Invalid, match="webhook: nothing to sign with: set MAIL"):
        found.demand_secret()


def test_a_secret_that_is_none_is_refused_and_not_shown(root: Path) -> None:
    with pytest.raises(
        errors.Invalid, match="MAILER_ALARM_SECRET: no secret"
    ) as caught:
        load(root, "", MAILER_ALARM_SECRET="planted")

    assert "planted" not in str(caught.value)


def test_whoever_is_told_is_part_of_the_fingerprint_and_the_secret_is_not(
    root: Path,
) -> None:
    before = settings.load(root, environment={}).fingerprint
    assert settings.load(root, environment=ENVIRONMENT).fingerprint == before

    assert load(root, 'email = ["ada@example.org"]\n').fingerprint != before
