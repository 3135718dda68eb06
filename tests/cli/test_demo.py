import re
from pathlib import Path

import pytest

from mailer import settings
from mailer.cli import demo
from mailer.core import bounce
from mailer.core.delivery import Reply
from mailer.mail import scenario
from mailer.settings import BOUNCES, Bounces, read, shipped


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in demo.SETTINGS])
def test_what_the_demo_changes_stands_once_in_the_shipped_settings(
    pattern: str,
) -> None:
    text = settings.shipped(Path("config", "settings.toml")).read_text("utf-8")

    assert len(re.findall(pattern, text, flags=re.MULTILINE)) == 1


def test_whoever_is_put_off_in_the_demo_waits_for_seconds() -> None:
    rules = bounce.Rules(rules=tuple(read(shipped(BOUNCES), Bounces).rule.values()))
    played = read(scenario.path("demo"), scenario.Scenario)

    putting_off = [one for one in played.provider.values() if one.greylisting]
    assert putting_off
    for part in putting_off:
        code, _, text = part.says.greylisted.partition(" ")
        rule = rules.find(Reply(code=int(code), text=text), part.name)
        assert rule is None or rule.wait is None, part.name
