"""Gathers the verbs; turns errors of the world into one sentence and an exit status."""

from __future__ import annotations

import importlib
import json
import sys
import traceback

import typer

from physedge.cli.extras import extra_of
from physedge_runtime.errors import PhysedgeError, missing_extra
from physedge_runtime.text import lines

_VERBS: tuple[str, ...] = (
    "doctor",
    "demo",
    "synth",
    "train",
    "adapt",
    "export",
    "calibrate",
    "verify",
    "bench",
    "run",
    "inspect",
    "sign",
    "install",
    "diff",
    "report",
    "replay",
)
_INTERRUPTED = 130
_VERBOSE = {"-v", "--verbose"}


def build_app() -> typer.Typer:
    """The typer application with every verb; a verb's module imports nothing heavy before it is called."""
    app = typer.Typer(
        help="From a physics-embedded network to a point-of-care device: train, export, judge, run.",
        epilog="-v anywhere shows the traceback of an error. Exit statuses: docs/errors/README.md.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def root(
        context: typer.Context,
        version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
    ) -> None:
        if version:
            from importlib.metadata import version as installed_version

            typer.echo(f"physedge {installed_version('physedge')}")
            raise typer.Exit
        _ = context

    for verb in _VERBS:
        module = importlib.import_module(f"physedge.cli.{verb}")
        command = getattr(module, verb)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=verb)
        else:
            app.command(verb)(command)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; always ends in SystemExit with a documented status.

    Args:
        arguments: Words after the program's name; those of the process where None.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    verbose = any(word in _VERBOSE for word in words)
    words = [word for word in words if word not in _VERBOSE]
    try:
        _run(words)
    except PhysedgeError as error:
        if verbose:
            traceback.print_exc()
        sys.stderr.write(f"{lines(str(error))}\n")
        if "--json" in words:
            sys.stdout.write(json.dumps({"error": error_record(error)}, indent=2, sort_keys=True) + "\n")
        raise SystemExit(error.exit_status) from None
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(_INTERRUPTED) from None


def _run(words: list[str]) -> None:
    """Run a verb; a package of an extra that is not installed is an error of the world, wherever it was asked for."""
    try:
        build_app()(args=words, prog_name="physedge")
    except ModuleNotFoundError as error:
        extra = extra_of(error.name or "")
        if extra is None:
            raise
        raise missing_extra(error.name or "", extra) from error


def error_record(error: PhysedgeError) -> dict[str, object]:
    """An error as a machine reads it."""
    return {
        "id": error.identifier,
        "found": error.found,
        "expected": error.expected,
        "next_step": error.next_step,
        "exit_status": error.exit_status,
    }
