"""The command `edgenet`: one file a command beside this one."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import edgenet
from edgenet.cli import (
    agent,
    bench,
    check,
    clean,
    compare,
    compose,
    data,
    deploy,
    devices,
    doctor,
    export,
    leakage,
    new_scheme,
    plan,
    probe,
    report,
    run,
    runs,
    shape,
    show,
    trace,
    watch,
)
from edgenet.errors import BAD_INPUT, DONE, INTERRUPTED, NODE_FAILED, EdgenetError

EPILOG = """\
exit codes:
  0    done
  2    bad input: a wrong option, file or topology; nothing was started
  3    a node failed; the sentence on stderr names it (doctor: edgenet cannot run here)
  130  interrupted by Ctrl-C or SIGTERM

EDGENET_DEBUG=1 shows the traceback of an error, too.
"""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where the choices are, and exit with 2."""
        print(f"edgenet: {message}; see `{self.prog} --help`", file=sys.stderr)
        sys.exit(BAD_INPUT)


def parser() -> Parser:
    """The whole command line."""
    top = Parser(
        prog="edgenet",
        description="Distributed learning at the network edge, with real processes and links.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"edgenet {edgenet.__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for command in (
        run, compare, check, plan, probe, compose, deploy, agent, data, bench, devices, runs, show,
        watch, report, leakage, shape, trace, clean, doctor, export,
        new_scheme,
    ):  # fmt: skip
        name = command.__name__.rpartition(".")[2].replace("_", "-")
        sub = commands.add_parser(
            name,
            help=command.HELP,
            description=command.__doc__,
            epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.set_defaults(execute=command.execute)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; returns its exit code."""
    return guarded(parser().parse_args(arguments))


def guarded(options: argparse.Namespace) -> int:
    """Carry out `options.execute(options)`; an error becomes a sentence and an exit code."""
    try:
        code: int = options.execute(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader (head, a closed pager) has seen enough; keep the flush at exit quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED)
    except EdgenetError as error:
        return fail(str(error), error.exit_code)
    except OSError as error:
        return fail(f"{error.filename or 'the system'}: {error.strerror or error}", NODE_FAILED)


def fail(sentence: str, code: int) -> int:
    """Say why the command ends as it does; returns its exit code."""
    if os.environ.get("EDGENET_DEBUG") == "1" and sys.exc_info()[0] is not None:
        traceback.print_exc()
    print(f"edgenet: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
