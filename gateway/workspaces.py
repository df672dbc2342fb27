"""Workspaces: who may ask in one, who may publish into it, and which index serves it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from gateway.http import SERVICES, json_response, person_of
from gateway.requests import Name, WorkspaceBody, read_json
from schemas import topics
from schemas.events import Audit, Person, Reuse, Workspace
from weir.access import EVERYONE
from weir.clock import Clock
from weir.errors import BadRequest, Forbidden, NotFound, SettingsError
from weir.kafka.producer import Producer
from weir.kafka.table import Table
from weir.retrieval.recipe import Recipe
from weir.settings import Settings

VISIBLE_WITHIN = 2.0
"""Seconds that a change waits to be seen by this gateway itself, so that who made it reads it back."""
_NAME: TypeAdapter[str] = TypeAdapter(Name)


class Workspaces:
    """Follows `workspaces`. One that nobody has set up is open to everyone, and `publisher_group` may publish."""

    def __init__(self, settings: Settings, producer: Producer, clock: Clock) -> None:
        self._settings = settings
        self._producer = producer
        self._clock = clock
        self._table = Table(settings, topics.WORKSPACES.named(settings.prefix))
        self._changed = asyncio.Event()
        self._table.on_change(lambda *_: self._changed.set())

    async def start(self) -> None:
        await self._table.start()

    async def close(self) -> None:
        await self._table.close()

    def get(self, name: str) -> Workspace:
        """Raises: BadRequest: it is not a workspace's name."""
        try:
            _NAME.validate_python(name)
        except ValidationError:
            raise BadRequest(f"{name[:80]!r} is no name of a workspace: letters, digits, `.`, `_`, `-`, at most "
                             "64") from None
        found = self._table.get(name)
        return found if isinstance(found, Workspace) else Workspace(
            workspace=name, changed_at=0, changed_by="", publishers=[self._settings.publisher_group])

    def all(self) -> list[Workspace]:
        return sorted((w for _, w in self._table.items()), key=lambda w: w.workspace)

    def admin(self, person: Person) -> bool:
        return self._settings.admin_group in person.groups

    def may_ask(self, person: Person, workspace: Workspace) -> bool:
        return self.admin(person) or _member(person, workspace.readers)

    def may_publish(self, person: Person, workspace: Workspace) -> bool:
        return self.admin(person) or _member(person, workspace.publishers)

    def for_reader(self, person: Person, name: str) -> Workspace:
        """Raises: NotFound: there is no such workspace for this person."""
        workspace = self.get(name)
        if not self.may_ask(person, workspace):
            raise NotFound(f"there is no workspace {name!r} that is open to you")
        return workspace

    def for_publisher(self, person: Person, name: str) -> Workspace:
        """
        Raises:
            NotFound: there is no such workspace for this person.
            Forbidden: the person may ask in it and not publish into it.
        """
        workspace = self.get(name)
        if self.may_publish(person, workspace):
            return workspace
        self.for_reader(person, name)
        raise Forbidden(f"you may not publish into {name!r}: ask somebody of {', '.join(workspace.publishers)}")

    async def put(self, person: Person, name: str, body: WorkspaceBody) -> Workspace:
        """
        Raises:
            Forbidden: the person is no administrator.
            BadRequest: a parameter of the recipe does not exist, or its value makes no sense.
        """
        self.get(name)
        if not self.admin(person):
            raise Forbidden(f"only members of {self._settings.admin_group!r} set up workspaces")
        try:
            Recipe().changed(body.recipe)
        except SettingsError as e:
            raise BadRequest(e.message) from e
        workspace = Workspace(
            workspace=name, title=body.title, index=body.index, readers=body.readers,
            publishers=[self._settings.publisher_group] if body.publishers is None else body.publishers,
            recipe=body.recipe, reuse=Reuse(**body.reuse.model_dump()) if body.reuse is not None else None,
            changed_at=self._clock(), changed_by=person.subject)
        await self._producer.send(topics.WORKSPACES.named(self._settings.prefix), name, workspace)
        await audit(self._producer, self._settings, self._clock, person, "workspace", name)
        try:
            async with asyncio.timeout(VISIBLE_WITHIN):
                while self._table.get(name) != workspace:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass  # it is on the log; this gateway is behind
        return workspace


async def audit(producer: Producer, settings: Settings, clock: Clock, person: Person, action: str, target: str,
                detail: Mapping[str, Any] | None = None) -> None:
    """Writes down who did what."""
    event = Audit(subject=person.subject, action=action, target=target, at=clock(),
                  detail=orjson.dumps(detail).decode() if detail else "")
    await producer.send(topics.AUDIT.named(settings.prefix), person.subject, event)


def _member(person: Person, groups: list[str]) -> bool:
    return EVERYONE in groups or any(g in groups for g in person.groups)


# -- HTTP ---------------------------------------------------------------------------------------------------------


async def list_workspaces(request: web.Request) -> web.Response:
    workspaces, person = request.app[SERVICES].workspaces, person_of(request)
    return json_response({"workspaces": [
        {"workspace": w.workspace, "title": w.title, "index": w.index, "may_publish": workspaces.may_publish(person, w)}
        for w in workspaces.all() if workspaces.may_ask(person, w)]})


async def get_workspace(request: web.Request) -> web.Response:
    workspaces, person = request.app[SERVICES].workspaces, person_of(request)
    workspace = workspaces.for_reader(person, request.match_info["workspace"])
    return json_response(_shown(workspace))


async def put_workspace(request: web.Request) -> web.Response:
    body = await read_json(request, WorkspaceBody)
    workspaces = request.app[SERVICES].workspaces
    return json_response(_shown(await workspaces.put(person_of(request), request.match_info["workspace"], body)))


def _shown(workspace: Workspace) -> dict[str, object]:
    return {"workspace": workspace.workspace, "title": workspace.title, "index": workspace.index,
            "readers": workspace.readers, "publishers": workspace.publishers, "recipe": workspace.recipe,
            "reuse": workspace.reuse}
