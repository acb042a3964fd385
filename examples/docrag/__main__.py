"""`python -m examples.docrag serve | load | corpus`."""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

from examples.docrag import settings

EXIT_FAILED = 1
EXIT_BAD_SETTING = 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="docrag", description="A small document-RAG service.")
    commands = parser.add_subparsers(dest="command", required=True)
    settings.add_options(commands.add_parser("serve", help="run the service"))
    loading = commands.add_parser("load", help="upload and query at a steady rate")
    loading.add_argument("--url", required=True, help="the service's URL")
    loading.add_argument("--rate", type=_positive, default=4.0, help="uploads and queries a second, each")
    loading.add_argument("--duration", type=_positive, default=60.0, help="seconds")
    files = commands.add_parser("corpus", help="write the known PDF files and their texts")
    files.add_argument("--out", type=Path, required=True, help="directory to write to")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError("must be more than 0 and at most 86400")
    return value


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit status is 0, 1 if it failed, 2 if it was called wrongly."""
    options = _parser().parse_args(arguments)
    return _COMMANDS[options.command](options)


# Each command loads what it needs itself: the PDF libraries take longer to load than `load` takes to start.


def _corpus(options: argparse.Namespace) -> int:
    from examples.docrag import corpus

    for path in corpus.write(options.out):
        print(path)
    return 0


def _load(options: argparse.Namespace) -> int:
    from examples.docrag import load

    print(json.dumps(asyncio.run(load.run(options.url, options.rate, options.duration))))
    return 0


def _serve(options: argparse.Namespace) -> int:
    try:
        read = settings.read(vars(options), os.environ)
    except settings.BadSetting as error:
        print(f"docrag: {error}", file=sys.stderr)
        return EXIT_BAD_SETTING
    from examples.docrag import server
    from examples.docrag.control import StateDirectoryInUse
    from examples.docrag.database import DatabaseUnavailable
    from examples.docrag.eventlog import log_to_stderr

    log_to_stderr()
    try:
        asyncio.run(server.run(read))
    except (DatabaseUnavailable, StateDirectoryInUse, OSError) as error:
        print(f"docrag: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


_COMMANDS = {"serve": _serve, "load": _load, "corpus": _corpus}


if __name__ == "__main__":
    sys.exit(main())
