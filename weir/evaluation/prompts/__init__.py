"""The judge's prompts as versioned files. A changed prompt is a new file, since a run names the one it used."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

JUDGE = "judge-1"


@cache
def system_prompt(name: str) -> str:
    """The text of a prompt by its name and version."""
    return (files(__name__) / f"{name}.md").read_text("utf-8").strip()
