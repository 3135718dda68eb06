"""What does not go together is told with file, line, key, value and the cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailer import errors, settings
from mailer.core import provider
from mailer.core.cap import Cap
from mailer.core.provider import Rate
from mailer.settings import workspace
from tests import sources


@pytest.fixture
def root(tmp_path: Path) -> Path:
    workspace.make(tmp_path / "w")
    return tmp_path / "w"


def load(root: Path) -> settings.Settings:
    return settings.load(root, environment={})


def refused(root: Path) -> list[str]:
    with pytest.raises(errors.Invalid) as caught:
        load(root)
    return [str(one) for one in caught.value.problems]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ('rate = "0/min"', '"0/min" would send nothing'),
        ('rate = "-5/min"', 'is no rate: write "100/min", "6000/h", "2/s"'),
        ('rate = "300"', '"300" is no rate: write'),
        ('rate = "300 per minute"', 'is no rate: write "100/min"'),
        ("rate = 300", "300: write text in quotes"),
        ('rate = "nan/min"', "is no rate: write"),
        ('rate = "1e9/s"', "is no rate: write"),
        ('rate = "99999999999/s"', 'faster than any server: write "unlimited"'),
        ('rate = "0.1/d"', 'less than one a day: write "1/d"'),
        ('rate = "9000/min"', "above the ceiling of 1800/min: lower it, or write"),
        ('rate = "unlimited"', 'above the ceiling of 1800/min: lower it, or write'),
        ('ceiling = "10/min"', "above the ceiling of 10/min"),
        ("connections = 0", "0: write a number from 1 to 100,000"),
        ("connections = -1", "-1: write a number from 1"),
        ("connections = 1.5", "1.5: write a whole number"),
        ('connections = "5"', '"5": write a whole number'),
        ("connections = true", "true: write a whole number"),
        ("messages = 0", "0: write a number from 1 to 100,000"),
        ('retry = ["15m", "5m"]', "a wait is never shorter than the one before"),
        ('retry = ["0s"]', '"0s": write waits from "1s" to "7d"'),
        ('retry = ["90d"]', '"90d": write waits from "1s" to "7d"'),
        ('retry = ["soon"]', '"soon" is no duration: write'),
        ('domains = ["@gmail.com"]', '"@gmail.com": write a domain in lower case'),
        ('domains = ["gmail.com", "aol.com"]', '"aol.com" is in google too'),
        ('mx = [".com"]', '".com": write the end of host names'),
        ('mx = [".yahoodns.net"]', '".yahoodns.net" is in google too'),
        ('mx = "google.com"', "write a list"),
        ('rates = "5/min"', 'unknown key: did you mean "rate"?'),
    ],
)  # fmt: skip
def test_nonsense_about_a_provider_is_refused(root: Path, key: str, said: str) -> None:
    path = root / "config/providers.toml"
    path.write_text(f"[provider.google]\n{key}\n", "utf-8")

    (problem,) = refused(root)

    where = "yahoo" if "too" in said else "google"
    assert problem.startswith("config/providers.toml")
    assert f"provider.{where}." in problem
    assert said in problem


def test_the_line_of_what_is_wrong_is_told(root: Path) -> None:
    path = root / "config/providers.toml"
    path.write_text(
        '[provider.google]\nconnections = 0\nrate = "9000/min"\n\n'
        '[provider.campus]\ndomains = ["Campus.test"]\n[provider.other]\n'
        'mx = [".own.test"]\n["provider"."A b"]\n',
        "utf-8",
    )

    found = refused(root)
    assert [one.split(": ")[:2] for one in found] == [
        ["config/providers.toml:2", "provider.google.connections"],
        ["config/providers.toml:3", "provider.google.rate"],
        ["config/providers.toml:6", "provider.campus.domains"],
        ["config/providers.toml:8", "provider.other.mx"],
        ["config/providers.toml:9", "provider.A b"],
    ]
    assert found[1].endswith(
        '"9000/min" is above the ceiling of 1800/min: lower it, or write '
        'ceiling = "9000/min" too'
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[rule.ms-auth]\nproviders = ["microsft"]',
         ':2: rule.ms-auth.providers: there is no provider "microsft": did you mean '
         '"microsoft"?'),
        ('[rule.own]\nmatch = "^450"\nscope = "lane"\naction = "suspend"',
         ':1: rule.own.wait: missing: for how long does it suspend?  Write wait = '
         '"15m"'),
        ('[rule.yahoo-ts04]\nwait = "0s"',
         ':2: rule.yahoo-ts04.wait: "0s": write a wait from "1s" to "7d"'),
        ("[rule.apple-defer]\nsuspend_after = 0",
         ":2: rule.apple-defer.suspend_after: 0: write a number of replies, from 1"),
        ('[rule.any-quota]\nsamples = ["full"]',
         ':2: rule.any-quota.samples: "full": write a reply as a server says it, '
         '"450 4.2.1 Try again later"'),
        ('[rule.any-quota]\nsamples = ["250 Fine"]',
         ':2: rule.any-quota.samples: "250 Fine": write a reply as a server says it, '
         '"450 4.2.1 Try again later"'),
        ('[rule.any-quota]\nsamples = ["450 4.2.0 Later"]',
         ':2: rule.any-quota.samples: rule any-recipient-temp takes "450 4.2.0 Later"'),
        ('[rule.any-quota]\nsamples = ["450 Later"]',
         ':2: rule.any-quota.samples: no rule takes "450 Later"'),
    ],
)  # fmt: skip
def test_nonsense_about_a_reply_is_refused(root: Path, text: str, said: str) -> None:
    (root / "config/bounces.toml").write_text(text, "utf-8")
    assert refused(root) == [f"config/bounces.toml{said}"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[source.own.provider.gogle]\nrate = "5/min"',
         'source.own.provider.gogle: there is no provider "gogle": did you mean '
         '"google"?'),
        ('[source.own.provider.google]\nrate = "5/min"\nceiling = "4/min"',
         'source.own.provider.google.rate: "5/min" is above the ceiling of 4/min: '
         'lower it, or write ceiling = "5/min" too'),
        ("[source.own.provider.google]\nconnections = 0",
         "source.own.provider.google: connections 0: write a number from 1 to 100000"),
        ('[source.own.provider.google]\nrat = "5/min"',
         'source.own.provider.google.rat: unknown key: did you mean "rate"?'),
        ('[source.own]\nrate = "5/min"\nceiling = "4/min"',
         'source.own.rate: "5/min" is above the ceiling of 4/min: lower it, or write '
         'ceiling = "5/min" too'),
    ],
)  # fmt: skip
def test_nonsense_about_a_source_is_refused(root: Path, text: str, said: str) -> None:
    sources.write(root, text)
    (problem,) = refused(root)
    assert problem.partition(": ")[2] == said


def test_a_workspace_and_a_source_override_key_by_key(root: Path) -> None:
    (root / "config/providers.toml").write_text(
        '[provider.google]\nrate = "600/min"\n', "utf-8"
    )
    sources.write(root, "[source.own]\n[source.own.provider.google]\nconnections = 2\n")

    found = load(root)

    (source,) = found.sources
    google = next(one for one in found.providers if one.name == "google")
    held = provider.limited(google, source)
    assert (held.rate, held.ceiling) == (Rate(10), Rate(30))
    assert (held.connections, held.messages) == (2, 50)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('[cap.x]\nrate = "5/min"', "cap.x: of what? write provider, source or domain"),
        ('[cap.x]\nsource = "relay"', 'cap.x: how much? write rate, like "600/min"'),
        ('[cap.x]\nsource = "relay"\nrate = "0/s"', '"0/s" would send nothing'),
        ('[cap.x]\nsource = "relay"\nrate = "unlimited"', "is no limit"),
        ('[cap.x]\nsource = "relay"\ndaily = 0', "daily 0: write a number from 1"),
        ('[cap.x]\ndomain = "not a name"\ndaily = 5', "write a name like example.org"),
        (
            '[cap.x]\nprovider = "gogle"\ndaily = 5',
            'cap.x.provider: there is no provider "gogle": did you mean "google"',
        ),
        (
            '[cap.x]\nsource = "rely"\ndaily = 5',
            'cap.x.source: there is no source "rely": did you mean "relay"',
        ),
    ],
)
def test_a_shared_limit_that_makes_no_sense_is_refused(
    root: Path, table: str, said: str
) -> None:
    path = root / "config/settings.toml"
    path.write_text(f"{path.read_text('utf-8')}\n{table}\n", "utf-8")

    (problem,) = refused(root)

    assert said in problem


def test_shared_limits_and_warm_up_are_read(root: Path) -> None:
    path = root / "config/settings.toml"
    text = path.read_text("utf-8").replace("# warmup = true", "warmup = true ")
    table = '[cap.ours]\nprovider = "google"\ndomain = "example.org"\nrate = "60/min"\n'
    path.write_text(f"{text}\n{table}", "utf-8")

    found = load(root)

    assert found.sources[0].warmup
    assert found.caps == (
        Cap(name="ours", provider="google", domain="example.org", rate=Rate(1.0)),
    )
