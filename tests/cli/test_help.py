"""Every command shows how it is used; every option can stand in the environment."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit._version import __version__
from bulkedit.after.report import FORMATS
from bulkedit.cli._commands import COMMANDS as PLACES
from bulkedit.cli.app import load_command
from tests.generated import variables_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.shell import Shell

COMMANDS: dict[str, Any] = {name: load_command(name) for name in PLACES}


def options() -> Iterator[tuple[str, Any]]:
    for name, command in COMMANDS.items():
        for parameter in command.params:
            if parameter.param_type_name == "option" and "--help-all" not in parameter.opts:
                yield name, parameter


OPTIONS = list(options())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_that_the_command_takes(shell: Shell, name: str) -> None:
    result = shell.run(*name.split(), "--help", env={"COLUMNS": "200"})
    assert result.exit_code == 0
    (example,) = [line.strip() for line in result.stdout.splitlines() if line.strip().startswith("Example: ")]
    words = shlex.split(example.removeprefix("Example: "))
    own = ["bulkedit", *name.split()]
    assert words[: len(own)] == own
    COMMANDS[name].make_context(name, words[len(own) :])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_is_explained_in_a_sentence(name: str) -> None:
    texts = {parameter.name: parameter.help for parameter in COMMANDS[name].params}
    assert {parameter: text for parameter, text in texts.items() if not (text and text.endswith("."))} == {}


@pytest.mark.parametrize(("command", "option"), OPTIONS, ids=lambda x: x if isinstance(x, str) else x.opts[0])
def test_every_option_has_an_environment_variable(command: str, option: Any) -> None:
    assert variables_of(option), f"{command} {option.opts[0]}"
    assert all(name.startswith("BULKEDIT_") for name in variables_of(option))


def test_an_option_that_commands_share_means_the_same_in_each() -> None:
    of_envvar: dict[str, set[tuple[str, ...]]] = {}
    for _, option in OPTIONS:
        for name in variables_of(option):
            of_envvar.setdefault(name, set()).add(tuple(option.opts))
    assert {envvar: names for envvar, names in of_envvar.items() if len(names) > 1} == {}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("width", ["60", "80"])
def test_help_has_exit_codes_and_environment_and_fits(shell: Shell, name: str, width: str) -> None:
    text = shell.run(*name.split(), "--help-all", env={"COLUMNS": width}).stdout
    assert "Exit codes" in text
    assert "AWS_PROFILE" in text
    boxes = [line for line in text.splitlines() if line.startswith(("│", "╭", "╰"))]
    assert {len(line) for line in boxes} == {int(width)}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_two_screens_and_says_how_to_see_all(shell: Shell, name: str) -> None:
    short = shell.run(*name.split(), "--help", env={"COLUMNS": "80"}).stdout
    assert f"bulkedit {name} --help-all" in short
    assert len(short.splitlines()) <= 48
    assert "BULKEDIT_" not in short
    everything = shell.run(*name.split(), "--help-all", env={"COLUMNS": "80"}).stdout
    for option in COMMANDS[name].params:
        assert option.opts[-1] in everything or option.param_type_name == "argument"


def test_help_shows_what_is_used_most_and_hides_the_rest_from_help_alone(shell: Shell) -> None:
    short = shell.run("apply", "--help").stdout
    assert ("--max-rate" in short, "--retry-for" in short) == (True, False)
    assert "--retry-for" in shell.run("apply", "--help-all").stdout
    assert not any(option.hidden for option in COMMANDS["apply"].params)


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_commands_and_options(shell: Shell, name: str) -> None:
    words = {"_TYPER_COMPLETE_ARGS": "bulkedit report --inc", "COMP_WORDS": "bulkedit report --inc", "COMP_CWORD": "2"}
    more = {"_BULKEDIT_COMPLETE": f"complete_{name}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    start = ("-c", "from bulkedit.cli.app import app; app(prog_name='bulkedit')")
    with shell.started(env={**words, **more}, start=start) as process:
        assert "--include-values" in process.communicate()[0]


def test_the_summaries_are_those_of_the_commands() -> None:
    assert {name: place.summary for name, place in PLACES.items()} == {
        name: command.help.splitlines()[0] for name, command in COMMANDS.items()
    }


def test_the_formats_of_result_files_are_all_named() -> None:
    (option,) = [one for one in COMMANDS["report"].params if "--format" in one.opts]
    assert option.metavar == "|".join(FORMATS)


def test_without_words_help_is_shown(shell: Shell) -> None:
    result = shell.run()
    assert "Usage" in result.stdout + result.stderr
    assert all(f" {name} " in result.stdout + result.stderr for name in COMMANDS)


def test_the_version_is_shown(shell: Shell) -> None:
    assert shell.run("--version").stdout == f"bulkedit {__version__}\n"


def test_an_unknown_command_is_a_usage_error(shell: Shell) -> None:
    assert shell.run("frobnicate").exit_code == 2
