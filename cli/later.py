"""Sub-commands that are imported when they are called.

A service is started by the same command that tests triggers and reads Parquet files: it must not import
all of that first, which takes longer than its own start.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup


class LaterGroup(TyperGroup):
    """A group that knows modules of this package by the name of the command. Such a module has a Typer
    application ``app``, or else a function of that name. Other commands are as usual, and come first."""

    modules: ClassVar[Mapping[str, str]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *self.modules]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        module = self.modules.get(cmd_name)
        if module is None:
            command = super().get_command(ctx, cmd_name)
            if command is None and not ctx.resilient_parsing:
                self._offer(ctx, cmd_name)
        else:
            command = _command(cmd_name, import_module(f"cli.{module}"))
        if command is not None:
            _join_lines(command)
        return command

    def _offer(self, ctx: Any, name: str) -> None:
        """Typer offers only commands that are there already."""
        near = ", ".join(map(repr, get_close_matches(name, self.list_commands(ctx))))
        if near:
            ctx.fail(f"No such command {name!r}. Did you mean {near}?")


def _join_lines(command: Any) -> None:
    """A paragraph of a docstring is shown as wide as the terminal is; Typer keeps the lines of the source."""
    if command.help:
        paragraphs = inspect.cleandoc(command.help).split("\n\n")
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    for further in getattr(command, "commands", {}).values():
        _join_lines(further)


def _command(name: str, module: Any) -> Any:
    if hasattr(module, "app"):
        found: Any = typer.main.get_group(module.app)
    else:
        alone = typer.Typer(add_completion=False)
        alone.command()(getattr(module, name))
        found = typer.main.get_command(alone)
    found.name = name
    return found
