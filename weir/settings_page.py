"""Writes `docs/reference/settings.md` from `weir/settings.py`: `python -m weir.settings_page`."""

from __future__ import annotations

from pathlib import Path

from weir.settings import Settings

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "settings.md"

HEAD = """# Settings

Every setting is an environment variable, read once when a process starts. What is wrong stops the process with a
message that names the variable. Secrets are files, never values. This page is written by
`python -m weir.settings_page` from `weir/settings.py`.

| variable | default | what it is for |
|---|---|---|
"""


def page() -> str:
    """The text of the page."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        shown = "" if default in (None, "") else f"`{default}`"
        rows.append(f"| `WEIR_{name.upper()}` | {shown} | {field.description} |\n".replace("||", "| |"))
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
