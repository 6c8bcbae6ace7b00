"""The root of the `lepton` command: loads the command asked for, and nothing else.

Exit codes: 0 success, 2 wrong use, 3 bad input, 4 a failed check, 5 something unavailable, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from lepton_sdk.cli.extensions import Command, commands
from lepton_sdk.cli.output import print_error
from lepton_targets.errors import LeptonError, MissingExtraError, UnavailableError

_INTERRUPTED = 130
_BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    try:
        application(words)(words, prog_name="lepton")
    except LeptonError as error:
        print_error(error, as_json)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        _discard_stdout()
        sys.exit(_BROKEN_PIPE)
    except OSError as error:
        failure = UnavailableError(
            f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
        )
        print_error(failure, as_json)
        sys.exit(failure.exit_code)
    except MemoryError:
        failure = UnavailableError("there is not enough memory for this")
        print_error(failure, as_json)
        sys.exit(failure.exit_code)


def _print_version(asked: bool) -> None:
    if asked:
        from lepton_sdk import __version__

        print(f"lepton-edge {__version__}")
        raise typer.Exit


def application(words: Sequence[str]) -> typer.Typer:
    """The Typer application with the command that `words` asks for; with all for help or an unknown one."""
    app = typer.Typer(
        name="lepton",
        help="Compile networks to signed bundles; run, train, improve and roll them out on devices.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    known = commands()
    wanted = next((word for word in words if not word.startswith("-")), None)
    if wanted in known:
        _register(app, known[wanted], known[wanted].load())
        return app
    for command in known.values():
        try:
            _register(app, command, command.load())
        except MissingExtraError as error:
            _register(app, command, _failing(error, f"(needs the extra '{error.extra}')"))
        except UnavailableError as error:
            _register(app, command, _failing(error, "(cannot be loaded)"))
    return app


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


def _register(app: typer.Typer, command: Command, loaded: Any) -> None:
    if isinstance(loaded, typer.Typer):
        app.add_typer(loaded, name=command.name)
    else:
        app.command(command.name)(loaded)


def _failing(error: UnavailableError, note: str) -> Callable[[], None]:
    def fail() -> None:
        raise error

    fail.__doc__ = note
    return fail


def _discard_stdout() -> None:
    """Let the interpreter's last flush go nowhere: whoever read our output has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
