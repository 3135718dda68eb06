import dataclasses
import typing
from pathlib import Path
from typing import Any

import pytest

from mailer import errors, settings
from mailer.settings import workspace

KEY = "ab" * 32
ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    workspace.make(tmp_path / "w")
    return tmp_path / "w"


def load(root: Path, **environment: str) -> settings.Settings:
    return settings.load(root, environment=environment)


def test_a_new_workspace_loads(root: Path) -> None:
    found = load(root)
    assert found.organization.name == "Example for Congress"
    assert [source.name for source in found.sources] == ["relay"]
    assert found.database is None
    assert found.workers is None
    assert len(found.keys.keys[found.keys.current]) == 32
    assert found.actblue is None


def test_the_repository_is_a_workspace() -> None:
    assert load(ROOT, MAILER_TRACKING_KEYS=f"1:{KEY}").public.port == 8080


def keys_of(kind: Any) -> list[str]:
    """Return the keys that a table of *kind* may hold, and those below."""
    found = []
    hints = typing.get_type_hints(kind)
    for one in dataclasses.fields(kind):
        below = [hints[one.name], *typing.get_args(hints[one.name])]
        tables = [table for table in below if dataclasses.is_dataclass(table)]
        for table in tables:
            found += keys_of(table)
        if not tables and one.repr:
            found.append(one.name.rstrip("_"))
    return found


def test_every_key_stands_in_the_shipped_settings_and_in_the_docs() -> None:
    shipped = (ROOT / "config/settings.toml").read_text("utf-8")
    docs = (ROOT / "docs/settings.md").read_text("utf-8")
    keys = [key for key in keys_of(settings.File) if key not in {"name", "per_second"}]
    assert {"host", "own_domains", "tls", "schedule", "processes", "from"} <= set(keys)
    lines = [line.lstrip("# ") for line in shipped.splitlines()]
    assert [
        key for key in keys if not any(line.startswith(f"{key} =") for line in lines)
    ] == []
    assert [key for key in keys if f"`{key}`" not in docs] == []


def test_the_commented_defaults_are_the_defaults(root: Path) -> None:
    path = root / "config/settings.toml"
    defaults = load(root)
    text = path.read_text("utf-8")
    for line in ("schedule", "url", "pool"):
        text = text.replace(f"# {line} =", f"{line} =")
    path.write_text(text, "utf-8")
    assert load(root) == defaults


def test_a_folder_without_settings_is_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound, match=r"no workspace .*: run `mailer init"):
        load(tmp_path)


def test_problems_of_all_files_are_told_at_once(root: Path) -> None:
    settings_file = root / "config/settings.toml"
    text = settings_file.read_text("utf-8")
    settings_file.write_text(text.replace("port = 8081", "port = 123456"), "utf-8")
    (root / "config/deadlines.toml").write_text("[deadline]\nq4 = 2026-12-31\n")
    (root / ".mailer/keys/tracking").write_text("1:ab\n")

    with pytest.raises(errors.Invalid) as caught:
        load(root)

    assert [str(one).split(": ")[:2] for one in caught.value.problems] == [
        ["config/settings.toml:29", "private"],
        ["config/deadlines.toml:2", "deadline.q4"],
        [".mailer/keys/tracking:1", "key 1"],
    ]


def test_secrets_come_from_the_environment_and_never_print(
    root: Path, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("from-a-file\n")
    found = load(
        root,
        MAILER_DATABASE_URL="postgresql://me:planted@localhost/x",
        MAILER_TRACKING_KEYS=f"7:{KEY}, 9:{'cd' * 32}",
        MAILER_SOURCE_RELAY_PASSWORD_FILE=str(file),
        MAILER_ACTBLUE_USER="hook",
        MAILER_ACTBLUE_PASSWORD="planted",
    )
    assert found.sources[0].password == "from-a-file"
    assert found.keys.current == 9
    assert set(found.keys.keys) == {7, 9}
    shown = repr(found)
    assert "planted" not in shown
    assert "from-a-file" not in shown
    assert repr(bytes.fromhex(KEY)) not in shown


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"MAILER_ACTBLUE_USER": "x"}, "set both MAILER_ACTBLUE_USER and"),
        (
            {"MAILER_DATABASE_URL": "x", "MAILER_DATABASE_URL_FILE": "y"},
            "MAILER_DATABASE_URL and MAILER_DATABASE_URL_FILE are both set",
        ),
        ({"MAILER_DATABASE_URL_FILE": "/nowhere"}, "/nowhere: cannot be read"),
        ({"MAILER_TRACKING_KEYS": "0:" + KEY}, "must be from 1 to 255"),
        ({"MAILER_TRACKING_KEYS": "256:" + KEY}, "must be from 1 to 255"),
        ({"MAILER_TRACKING_KEYS": "1:xyz"}, "write 64 hex digits"),
        ({"MAILER_TRACKING_KEYS": KEY}, "write a number from 1 to 255, a colon"),
        ({"MAILER_TRACKING_KEYS": f"1:{KEY},1:{KEY}"}, "key 1 is there twice"),
        ({"MAILER_TRACKING_KEYS": "# none"}, "no key"),
    ],
)
def test_a_wrong_environment_is_refused_without_showing_it(
    root: Path, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(errors.Invalid, match=message) as caught:
        load(root, **environment)
    assert KEY not in str(caught.value)


def test_keys_that_others_may_read_are_refused(root: Path) -> None:
    (root / ".mailer/keys/tracking").chmod(0o644)
    with pytest.raises(errors.Invalid, match="chmod 600"):
        load(root)


def test_a_workspace_without_keys_says_how_to_make_them(root: Path) -> None:
    (root / ".mailer/keys/tracking").unlink()
    with pytest.raises(errors.NotFound, match="run `mailer init"):
        load(root)


def test_the_fingerprint_changes_with_what_must_be_equal_everywhere(root: Path) -> None:
    before = load(root)
    path = root / "config/settings.toml"
    text = path.read_text("utf-8")

    path.write_text(text.replace("# processes = 2 ", "processes = 7"), "utf-8")
    assert load(root).workers == 7
    assert load(root).fingerprint == before.fingerprint
    assert load(root, MAILER_DATABASE_URL="x").fingerprint == before.fingerprint
    path.write_text(text.replace("tax deductible", "deductible"), "utf-8")
    assert load(root).fingerprint != before.fingerprint
    path.write_text(text, "utf-8")
    other = load(root, MAILER_TRACKING_KEYS=f"1:{KEY}")
    assert other.fingerprint != before.fingerprint


def test_providers_are_overridden_key_by_key(root: Path) -> None:
    shipped = {one.name: one for one in load(root).providers}
    (root / "config/providers.toml").write_text(
        "[provider.campus]\ndomains = ['campus.test']\n", "utf-8"
    )
    found = {one.name: one for one in load(root).providers}
    assert found.pop("campus").domains == ("campus.test",)
    assert found == shipped


@pytest.mark.parametrize(
    ("waits", "said"),
    [
        ("[]", 'retry: schedule: write at least one wait, like ["15m"]'),
        ('["1h", "5m"]', "a wait is never shorter than the one before"),
        ('["0s"]', 'schedule: "0s": write waits from "1s" to "7d"'),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(
    root: Path, waits: str, said: str
) -> None:
    path = root / "config/settings.toml"
    text = path.read_text("utf-8")
    path.write_text(text.replace("[retry]", f"[retry]\nschedule = {waits}"), "utf-8")
    with pytest.raises(errors.Invalid) as caught:
        load(root)
    assert said in str(caught.value)


def test_segments_are_read_with_every_problem_of_every_file(root: Path) -> None:
    folder = root / "segments"
    (folder / "a.toml").write_text(
        'describes = "x"\nall = [\n  { field = "stat", is = "WI" },\n'
        '  { donated = { withn = "3d" } },\n]\n'
    )
    (folder / "b.toml").write_text("donated = true\nnot TOML")

    with pytest.raises(errors.Invalid) as caught:
        settings.segments(root)

    assert [str(one) for one in caught.value.problems] == [
        'segments/a.toml:3: all[1].field: "stat" is no field: did you mean "state"?',
        'segments/a.toml:4: all[2].donated.withn: unknown key: did you mean "within"?',
        "segments/b.toml:2: not TOML: Expected '=' after a key in a key/value pair",
    ]


def test_a_reference_between_segments_that_leads_nowhere_has_its_line(
    root: Path,
) -> None:
    (root / "segments" / "a.toml").write_text(
        'describes = "x"\ndonated = true\nexclude = ["major-doners"]\n'
    )
    with pytest.raises(errors.Invalid) as caught:
        settings.segments(root)
    assert str(caught.value) == (
        'segments/a.toml:3: exclude: there is no segment "major-doners": '
        'did you mean "major-donors"?'
    )


def test_the_shipped_segments_are_read(root: Path) -> None:
    found = settings.segments(root)
    assert {"active-donors", "lapsed-donors", "never-gave", "major-donors"} <= set(
        found
    )
    assert found["lapsed-donors"]["exclude"] == ["major-donors"]
    assert settings.segments(ROOT).keys() == found.keys()
