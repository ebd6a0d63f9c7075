"""Settings: one table, four sources, and where each value came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_engine import settings
from hybrid_engine.errors import SettingsError
from hybrid_engine.files.place import paths_from, read_env_file


def test_without_any_source_every_value_is_its_default(tmp_path: Path) -> None:
    found = settings.load({}, str(tmp_path))
    assert found.home == str(tmp_path)
    assert (found.max_parallel_nodes, found.log_level, found.rescan, found.settle) == (4, "INFO", 5.0, 0.5)
    assert found.min_free == 16 * 1024**2
    assert {row["from"] for row in found.rows()} == {"default"}


def test_every_default_reads_back_as_it_is_shown(tmp_path: Path) -> None:
    for row in settings.load({}, str(tmp_path)).rows():
        setting = settings.BY_NAME[row["name"]]
        if setting.name != "home":
            assert setting.read(row["value"]) == setting.read(setting.default)


def test_every_setting_is_an_attribute_and_has_a_sentence() -> None:
    assert set(settings.Settings.__annotations__) == set(settings.BY_NAME)
    assert all(setting.about.endswith(".") for setting in settings.TABLE)


def test_the_environment_beats_env_file_beats_toml(tmp_path: Path) -> None:
    (tmp_path / "hybrid.toml").write_text('max_parallel_nodes = 2\nlog_level = "debug"\ngrace = "1m"\n')
    (tmp_path / ".env").write_text("# ours\nMAX_PARALLEL_NODES=3\nLOG_LEVEL='warning'\n")
    found = settings.load({"MAX_PARALLEL_NODES": "8", "HYBRID_USER": ""}, str(tmp_path))
    assert (found.max_parallel_nodes, found.log_level, found.grace) == (8, "WARNING", 60.0)
    assert str(found.origins["max_parallel_nodes"]) == "environment"
    assert str(found.origins["log_level"]) == f"{tmp_path}/.env:3"
    assert str(found.origins["grace"]) == f"{tmp_path}/hybrid.toml:3"
    assert str(found.origins["user"]) == "default"


def test_the_home_comes_from_the_argument_then_the_environment_then_the_current_folder(tmp_path: Path) -> None:
    assert settings.load({"HYBRID_HOME": "a"}, str(tmp_path)).home == str(tmp_path / "a")
    assert settings.load({"HYBRID_HOME": "a"}, str(tmp_path), home=str(tmp_path / "b")).home == str(tmp_path / "b")
    assert settings.load({}, str(tmp_path)).home == str(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_PARALLEL_NODES", "abc"),
        ("MAX_PARALLEL_NODES", "0"),
        ("MAX_PARALLEL_NODES", "1.5"),
        ("MAX_PARALLEL_NODES", "9" * 5000),
        ("LOG_LEVEL", "loud"),
        ("HYBRID_RESCAN", "soon"),
        ("HYBRID_GRACE", "-1s"),
        ("HYBRID_MIN_FREE", "16 bananas"),
        ("HYBRID_USER", "../root"),
        ("WORKFLOWS_DIR", "a\0b"),
    ],
)
def test_nonsense_in_the_environment_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        settings.load({name: value}, str(tmp_path))
    assert "environment" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_nonsense_in_a_file_is_told_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("\nMAX_PARALLEL_NODES=abc\n")
    with pytest.raises(SettingsError) as caught:
        settings.load({}, str(tmp_path))
    assert (caught.value.file, caught.value.line) == (str(tmp_path / ".env"), 2)
    (tmp_path / ".env").unlink()
    (tmp_path / "hybrid.toml").write_text('log_level = "INFO"\nmax_parallel_nodes = true\n')
    with pytest.raises(SettingsError, match="whole number") as caught:
        settings.load({}, str(tmp_path))
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "hybrid.toml"), 2)


def test_bad_toml_is_told_with_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "hybrid.toml").write_text('log_level = "INFO"\nmax_parallel_nodes = = 3\n')
    with pytest.raises(SettingsError) as caught:
        settings.load({}, str(tmp_path))
    assert (caught.value.line, caught.value.column) == (2, 22)


def test_an_unknown_setting_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "hybrid.toml").write_text("max_paralel_nodes = 3\n")
    with pytest.raises(SettingsError, match="max_parallel_nodes"):
        settings.load({}, str(tmp_path))
    (tmp_path / "hybrid.toml").unlink()
    (tmp_path / ".env").write_text("HYBRID_GRASE=3s\nDATABASE_URL=postgres://\n")
    with pytest.raises(SettingsError, match="HYBRID_GRACE"):
        settings.load({}, str(tmp_path))


def test_env_files_know_quotes_comments_and_export(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text('export A=1\nB = \'x # y\' # z\nC="q\\"\\n\\\\n"\nD=plain # note\nE=\n#F=1\n')
    assert read_env_file(str(path)) == [
        ("A", "1", 1),
        ("B", "x # y", 2),
        ("C", 'q"\n\\n', 3),
        ("D", "plain", 4),
        ("E", "", 5),
    ]


@pytest.mark.parametrize("line", ["just words", 'A="open', "1A=2", "A='x' y"])
def test_a_bad_line_in_an_env_file_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"OK=1\n{line}\n")
    with pytest.raises(SettingsError) as caught:
        read_env_file(str(tmp_path / ".env"))
    assert caught.value.line == 2


def test_an_env_file_cannot_move_the_home_it_lies_in(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HYBRID_HOME=elsewhere\n")
    with pytest.raises(SettingsError, match="move the home"):
        settings.load({}, str(tmp_path))
    (tmp_path / ".env").write_text("HYBRID_HOME=.\n")
    assert settings.load({}, str(tmp_path)).home == str(tmp_path)


def test_the_short_way_to_the_paths_agrees_with_the_long_one(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WORKFLOWS_DIR=/elsewhere/w\nHYBRID_USER=ann\n")
    environ = {"QUEUE_STATE_FILE": "q.json"}
    short = paths_from(environ, str(tmp_path))
    long = settings.load(environ, str(tmp_path))
    assert short is not None
    assert vars(short[0]) == vars(long.layout)
    assert short[1] == long.user == "ann"


def test_the_short_way_gives_up_when_toml_may_move_a_path(tmp_path: Path) -> None:
    (tmp_path / "hybrid.toml").write_text('# nothing but a note\nlog_level = "INFO"\n')
    assert paths_from({}, str(tmp_path)) is not None
    (tmp_path / "hybrid.toml").write_text('workflows_dir = "w"\n')
    assert paths_from({}, str(tmp_path)) is None


def test_values_of_a_command_line_are_checked_too(tmp_path: Path) -> None:
    found = settings.load({}, str(tmp_path))
    assert found.but(max_parallel_nodes=9).max_parallel_nodes == 9
    assert found.max_parallel_nodes == 4
    with pytest.raises(SettingsError, match="command line"):
        found.but(max_parallel_nodes=0)
