"""Prompts as versioned files. A changed prompt is a new file, since a task pins the one that it began with."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from weir.errors import SettingsError

PLAN = "plan-1"


@cache
def system_prompt(name: str) -> str:
    """The text of a prompt by its name and version.

    Raises:
        SettingsError: this release has no such prompt.
    """
    if name not in (PLAN,):
        raise SettingsError(f"the task pins the prompt {name!r}, which this release does not have; ask for it again")
    return (files(__name__) / f"{name}.md").read_text("utf-8").strip()
