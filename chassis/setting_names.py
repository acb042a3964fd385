"""The names of settings, to offer the one that was meant: one underscore for two is soon written."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from pydantic import BaseModel


def names_of(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """The variables of all settings of a model, its sections and those in them."""
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name}".upper()
        yield variable
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from names_of(field.annotation, f"{variable}__")


def meant(variable: str, model: type[BaseModel], prefix: str) -> str | None:
    """The setting whose name is nearest; None where none is near."""
    near = get_close_matches(variable, list(names_of(model, prefix)), n=1, cutoff=0.8)
    return near[0] if near else None
