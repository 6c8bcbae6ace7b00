"""The root of the `lepton` command: loads the command asked for, and nothing else.

Exit codes: 0 success, 1 a fault of Lepton itself, 2 wrong use, 3 bad input, 4 a failed check, 5 something
unavailable, 130 interrupted, 141 whoever read stdout left before all was printed (0 where the command's work,
a file, was written by then). With --json each failure of 1 to 5 prints {"error": {"type", "message",
"details"}}. LEPTON_TRACEBACK=1 adds the traceback to a fault.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lepton_sdk.cli.extensions import Command, commands
from lepton_sdk.cli.output import discard_stdout, print_error, print_failure
from lepton_targets.errors import LeptonError, MissingExtraError, UnavailableError

_FAULT = 1
_WRONG_USE = 2
_INTERRUPTED = 130
_BROKEN_PIPE = 141

# click's UsageError; Typer has its own copy of click in some versions, and gives only this child a name.
_WrongWords: Any = typer.BadParameter.__bases__[0]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _outcome(words, "--json" in words)
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
        code = _BROKEN_PIPE
    sys.exit(code)


def _outcome(words: list[str], as_json: bool) -> int:
    """Run the command; its exit code, after its error was printed. Raises BrokenPipeError."""
    try:
        # Not through `application(words)(…)`: that would end the process by Typer's own rules.
        command = typer.main.get_command(application(words))
        with command.make_context("lepton", list(words)) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except _WrongWords as error:
        error.show()
        print_failure("UsageError", error.format_message(), (), as_json)
        return _WRONG_USE
    except LeptonError as error:
        print_error(error, as_json)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort) as stop:
        if kept := str(stop):
            print(f"lepton: {kept}", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:
        text = f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
        failure = UnavailableError(text)
    except MemoryError:
        failure = UnavailableError("there is not enough memory for this")
    except Exception as error:
        _print_fault(error, as_json)
        return _FAULT
    else:
        return 0
    print_error(failure, as_json)
    return failure.exit_code


def _print_fault(error: Exception, as_json: bool) -> None:
    """What no command expected: one line to report, and the traceback for who asks."""
    if os.environ.get("LEPTON_TRACEBACK") == "1":
        traceback.print_exception(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    what = " ".join(str(error).split())
    message = f"internal error: {type(error).__name__}: {what} ({Path(last.filename).name}:{last.lineno})"
    report = (
        "this is a fault of Lepton: report this line, the command and what `lepton --version` prints",
        "LEPTON_TRACEBACK=1 shows the way there",
    )
    print(f"lepton: {message}; {'; '.join(report)}", file=sys.stderr)
    print_failure("InternalError", message, report, as_json)


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
        epilog="Exits 0 on success, 1 by a fault of Lepton, 2 on wrong use, 3 on bad input, "
        "4 on a failed check, 5 where something is unavailable. "
        "With --json, failures are objects on stdout too.",
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


if __name__ == "__main__":
    main()
