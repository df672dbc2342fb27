"""`weir ingest`: files and folders into a workspace, with progress until each document is searchable."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.client import Client, token_for
from weir import settings as settings_module
from weir.documents.media_types import guess_media_type
from weir.errors import BadRequest, Overloaded, Unavailable, WeirError
from weir.settings import Settings

UPLOADS = 8
"""Documents on their way to the gateway at a time."""

POLL = 0.3
"""Seconds between two looks at the documents that are not searchable yet."""


@dataclass(slots=True)
class Upload:
    """A file and what is said about it."""

    path: Path
    document: str
    media_type: str
    about: dict[str, Any] = field(default_factory=dict)
    version: int | None = None
    problem: str | None = None


def ingest(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="Files and folders.")],
    workspace: Annotated[str, typer.Option("--workspace", "-w", help="Workspace to publish into.")] = "sample",
    user: Annotated[str, typer.Option("--user", "-u", help="Person of the local issuer to publish as.")] = "operator",
    group: Annotated[list[str] | None, typer.Option("--group", "-g", help="Group that may read it; everyone if none "
                                                    "is given.")] = None,
    clearance: Annotated[int, typer.Option(help="Lowest clearance that may read it.")] = 0,
    wait: Annotated[bool, typer.Option(help="Wait until everything is searchable.")] = True,
) -> None:
    """Publish files and folders and wait until they are searchable."""
    settings = settings_module.load()
    about = {"groups": group or ["everyone"], "clearance": clearance}
    uploads = [u for path in paths for u in _files(path, about)]
    if not uploads:
        raise BadRequest("there is no file of a known kind under these paths; `weir ingest --help` lists the kinds")
    if asyncio.run(publish(settings, token_for(settings, user), workspace, uploads, wait=wait)):
        raise typer.Exit(1)


def library(settings: Settings, manifest: Path) -> int:
    """Publishes a library that is described by a `library.json`; returns how many documents failed."""
    described = json.loads(manifest.read_text())
    uploads = []
    for item in described["documents"]:
        about = {k: item[k] for k in ("title", "groups", "clearance", "metadata", "source") if k in item}
        uploads.append(Upload(manifest.parent / item["path"], item["id"], item["media_type"], about))
    token = token_for(settings, "operator")
    workspace = {"title": described.get("title", ""), "readers": ["everyone"], "publishers": ["publishers"]}

    async def run() -> int:
        async with Client(settings, token) as client:
            await client.call("PUT", f"/v1/workspaces/{described['workspace']}", json=workspace)
        return await publish(settings, token, described["workspace"], uploads, wait=True)

    return asyncio.run(run())


def _files(path: Path, about: dict[str, Any]) -> Iterator[Upload]:
    root = path.parent if path.is_file() else path
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        if any(part.startswith(".") for part in file.relative_to(root).parts):
            continue
        media_type = guess_media_type(file)
        if media_type:
            yield Upload(file, file.relative_to(root).as_posix(), media_type, about)


async def publish(settings: Settings, token: str, workspace: str, uploads: list[Upload], *, wait: bool) -> int:
    """Sends all documents, shows how far they are, prints what failed and why; returns how many failed."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with Client(settings, token) as client:
        with Progress(*columns, console=console) as progress:
            gate = asyncio.Semaphore(UPLOADS)
            sent = progress.add_task("published", total=len(uploads))

            async def send(upload: Upload) -> None:
                async with gate:
                    await _send(client, workspace, upload)
                    progress.advance(sent)

            await asyncio.gather(*(send(u) for u in uploads))
            if wait:
                searchable = progress.add_task("searchable", total=len(uploads))
                await _wait(client, workspace, uploads, lambda n: progress.update(searchable, completed=n))
    failed = [u for u in uploads if u.problem]
    for u in failed:
        console.print(f"[red]failed[/red] {u.document}: {u.problem}", highlight=False)
    return len(failed)


async def _send(client: Client, workspace: str, upload: Upload) -> None:
    content = await asyncio.to_thread(upload.path.read_bytes)
    body = {"document": upload.document, "media_type": upload.media_type,
            "content_base64": base64.b64encode(content).decode(), **upload.about}
    while True:
        try:
            reply = await client.call("POST", f"/v1/workspaces/{quote(workspace, safe='')}/documents", json=body)
        except (Overloaded, Unavailable) as e:
            if e.retry_after is None:
                raise
            await asyncio.sleep(e.retry_after)
        except WeirError as e:
            upload.problem = e.message
            return
        else:
            upload.version = reply["version"]
            return


async def _wait(client: Client, workspace: str, uploads: list[Upload], report: Any) -> None:
    waiting = [u for u in uploads if u.problem is None]
    while waiting:
        for upload in list(waiting):
            path = f"/v1/workspaces/{quote(workspace, safe='')}/documents/{quote(upload.document, safe='')}"
            try:
                status = await client.call("GET", path)
            except WeirError as e:
                if e.retriable or e.status == 404:  # the view has not seen it yet
                    continue
                raise
            if status["version"] < (upload.version or 0):
                continue
            if status["failed"]:
                upload.problem = f"{status['failed']['reason']} (`weir dead-letters list` shows it)"
            if status["failed"] or status["searchable"]:
                waiting.remove(upload)
                report(len(uploads) - len(waiting))
        await asyncio.sleep(POLL)
