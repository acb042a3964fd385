"""Sub-commands that are imported when they are called.

A service is started by the same command that tests triggers and reads Parquet files: it must not import
all of that first, which takes longer than its own start.
"""

from __future__ import annotations

from collections.abc import Mapping
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
            return super().get_command(ctx, cmd_name)
        return _command(cmd_name, import_module(f"cli.{module}"))


def _command(name: str, module: Any) -> Any:
    if hasattr(module, "app"):
        found: Any = typer.main.get_group(module.app)
    else:
        alone = typer.Typer(add_completion=False)
        alone.command()(getattr(module, name))
        found = typer.main.get_command(alone)
    found.name = name
    return found
