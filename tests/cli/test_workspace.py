import stat
import tomllib
from pathlib import Path

from click.testing import CliRunner, Result

from mailer import cli, errors
from mailer.settings import workspace

ROOT = Path(__file__).parents[2]


def init(folder: Path) -> Result:
    return CliRunner().invoke(cli.commands, ["init", str(folder)])


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_new_workspace_has_its_files_and_a_secret_key(tmp_path: Path) -> None:
    result = init(tmp_path / "team")

    assert result.exit_code == 0
    assert "added   config/settings.toml" in result.output
    assert {"config/settings.toml", "config/deadlines.toml", ".gitignore"} <= set(
        content(tmp_path / "team")
    )
    assert ".mailer/" in (tmp_path / "team/.gitignore").read_text()
    for path, mode in ((".mailer", 0o700), (".mailer/keys/tracking", 0o600)):
        assert stat.S_IMODE((tmp_path / "team" / path).stat().st_mode) == mode


def test_making_it_twice_changes_nothing(tmp_path: Path) -> None:
    init(tmp_path)
    before = content(tmp_path)

    result = init(tmp_path)

    assert result.exit_code == 0
    assert "nothing was missing" in result.output
    assert content(tmp_path) == before


def test_what_is_missing_is_added_and_what_is_there_is_left_alone(
    tmp_path: Path,
) -> None:
    init(tmp_path)
    settings_file = tmp_path / "config/settings.toml"
    settings_file.write_text("mine")
    (tmp_path / "config/deadlines.toml").unlink()

    result = init(tmp_path)

    assert "added   config/deadlines.toml" in result.output
    assert settings_file.read_text() == "mine"


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")

    result = init(tmp_path)

    assert isinstance(result.exception, errors.Conflict)
    assert content(tmp_path) == {"thesis.txt": b"x"}


def test_a_fresh_clone_may_become_a_workspace(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert init(tmp_path).exit_code == 0


def test_help_has_an_example() -> None:
    result = CliRunner().invoke(cli.commands, ["init", "--help"])
    assert "Example: mailer init" in result.output


def test_the_wheel_carries_everything_that_a_new_workspace_gets() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    needed = {str(path.parts[0]) for path in (*workspace.FILES, *workspace.FOLDERS)}
    assert wheel == {name: f"mailer/shipped/{name}" for name in needed}
    assert all((ROOT / name).is_dir() for name in needed)
