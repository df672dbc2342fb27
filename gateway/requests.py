"""What clients may send, checked at the edge. `/v1/openapi.json` is made from it."""

from __future__ import annotations

import base64
import binascii
from datetime import date
from typing import Annotated, Any, Literal, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from schemas.events import Filter, FilterOp
from weir.access import as_date, check_filters
from weir.errors import BadRequest, InputError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Id = Annotated[str, Field(min_length=1, max_length=200)]
Value = StrictBool | StrictInt | StrictFloat | StrictStr
Metadata = dict[str, date | int | list[str] | float | bool | str]
Parameters = Annotated[dict[Annotated[str, Field(max_length=200)], float], Field(max_length=64)]
"""Parameters of retrieval; docs/reference/recipe.md."""

MAX_BODY = 256 * 1024
"""Bytes of a request that is no document."""


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


B = TypeVar("B", bound=BaseModel)


class FilterBody(Body):
    """A condition on metadata. Days are texts such as `2026-01-31`."""

    field: Annotated[str, Field(min_length=1, max_length=200)]
    op: FilterOp = FilterOp.EQ
    values: list[Value]


class Searching(Body):
    """What every question says of how it is searched. `without`: conditions that stand in the question and are not to
    narrow it, as the answer's `filters` have said them. `anew`: nothing that was found or answered before is used
    again."""

    workspace: Name
    question: Annotated[str, Field(min_length=1)]
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    filters: list[FilterBody] = []
    explain: bool = False
    recipe: Parameters = {}
    without: Annotated[list[Annotated[str, Field(max_length=500)]], Field(max_length=20)] = []
    anew: bool = False


class SearchBody(Searching):
    pass


class AskBody(Searching):
    """`request_id`: asking again with the same one asks once. `follows`: the answer that this question follows."""

    request_id: Id | None = None
    conversation: Id | None = None
    follows: Id | None = None
    search_only: bool = False


class DocumentBody(Body):
    """One document; either `content` (text) or `content_base64`."""

    document: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    title: Annotated[str, Field(max_length=1000)] = ""
    media_type: Annotated[str, Field(max_length=200)] = ""
    filename: Annotated[str, Field(max_length=1000)] = ""
    content: str | None = None
    content_base64: str | None = None
    source: Annotated[str, Field(max_length=4000)] = ""
    groups: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=1000)] = ["everyone"]
    clearance: Annotated[int, Field(ge=0, le=1000)] = 0
    metadata: dict[Annotated[str, Field(min_length=1, max_length=200)], Value | list[StrictStr]] = {}

    def bytes(self) -> bytes:
        """Raises: BadRequest: there is no content, or two, or it is not base64."""
        if (self.content is None) == (self.content_base64 is None):
            raise BadRequest("send either `content` (text) or `content_base64`")
        if self.content is not None:
            return self.content.encode()
        try:
            return base64.b64decode(self.content_base64 or "", validate=True)
        except binascii.Error as e:
            raise BadRequest(f"`content_base64` is not base64: {e}") from e

    def typed_metadata(self) -> Metadata:
        """Metadata as events carry it: a text that is an ISO day becomes a day."""
        return {k: (as_date(v) or v) if isinstance(v, str) else v for k, v in self.metadata.items()}


class ReuseBody(Body):
    """Which answers may be given again to whoever asks the same with the same access."""

    kinds: Annotated[list[Literal[
        "how", "how-much", "what", "which", "who", "where", "when", "why", "whether", "request"]], Field(min_length=1)]
    semantic: bool = False
    similarity: Annotated[float, Field(ge=0.5, le=1)] = 0.85
    hours: Annotated[int, Field(ge=1, le=24)] = 24


class WorkspaceBody(Body):
    title: Annotated[str, Field(max_length=200)] = ""
    index: Name = "main"
    readers: Annotated[list[str], Field(max_length=1000)] = ["everyone"]
    publishers: Annotated[list[str], Field(max_length=1000)] | None = None
    recipe: Parameters = {}
    reuse: ReuseBody | None = None


class FeedbackBody(Body):
    good: bool
    comment: Annotated[str, Field(max_length=4000)] = ""


class GoldenBody(Body):
    """A marked answer for a golden set: of the workspace's name where none is named. Of a bad answer `documents`,
    `answer` or `unanswerable` say what would have been right."""

    good: bool
    set: Name | None = None
    documents: Annotated[list[Id], Field(max_length=20)] = []
    answer: Annotated[str, Field(max_length=2000)] = ""
    unanswerable: bool = False
    reason: Annotated[str, Field(max_length=1000)] = ""


class SessionBody(Body):
    """A sign-in: `user` with the access code, or a token."""

    user: Annotated[str, Field(max_length=200)] | None = None
    code: Annotated[str, Field(max_length=200)] | None = None
    token: str | None = None


class CancelBody(Body):
    conversation: Id


class ChatMessage(BaseModel):
    role: str
    content: str | list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(str(p.get("text", "")) for p in self.content if p.get("type") == "text")
        return self.content or ""


class ChatMetadata(BaseModel):
    conversation: Id | None = None
    follows: Id | None = None


class ChatCompletionBody(BaseModel):
    """As far as Weir has a use for it; what else a client sends (temperature and the like) is ignored."""

    model: str = "weir"
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1000)]
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    metadata: ChatMetadata | None = None


# -- the messages of a WebSocket ----------------------------------------------------------------------------------


class Hello(Body):
    type: Literal["hello"]
    token: str | None = None


class Ask(AskBody):
    type: Literal["ask"]
    request_id: Id


class Resume(Body):
    type: Literal["resume"]
    answer: Id
    conversation: Id
    cursor: Annotated[str, Field(max_length=80)] | None = None


class Cancel(Body):
    type: Literal["cancel"]
    answer: Id
    conversation: Id


class Token(Body):
    type: Literal["token"]
    token: str


class Watch(Body):
    """Follow a task, or with `approvals` the approval queue."""

    type: Literal["watch"]
    task: Id | None = None
    approvals: bool = False


class Unwatch(Body):
    type: Literal["unwatch"]
    task: Id


MESSAGES: dict[str, type[Body]] = {"hello": Hello, "ask": Ask, "resume": Resume, "cancel": Cancel, "token": Token,
                                   "watch": Watch, "unwatch": Unwatch}


def parse(kind: type[B], plain: Any) -> B:
    """Raises: BadRequest: it does not fit; the message names the field."""
    try:
        return kind.model_validate(plain)
    except ValidationError as e:
        first = e.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise BadRequest(f"{where}: {first['msg']}") from e


def parse_json(kind: type[B], data: bytes | str) -> B:
    try:
        return parse(kind, orjson.loads(data))
    except orjson.JSONDecodeError as e:
        raise BadRequest(f"the body is not JSON: {e}") from e


def filters_of(bodies: list[FilterBody]) -> list[Filter]:
    """Raises: BadRequest: a filter compares what cannot be compared."""
    filters = [Filter(field=f.field, op=f.op, values=list(f.values)) for f in bodies]
    check_filters(filters)
    return filters


async def read_body(request: web.Request, limit: int = MAX_BODY) -> bytes:
    """Raises: BodyTooLarge: it has more bytes than `limit`."""
    if (request.content_length or 0) > limit:
        raise BodyTooLarge(limit)
    parts, size = [], 0
    async for part in request.content.iter_chunked(1 << 16):
        size += len(part)
        if size > limit:
            raise BodyTooLarge(limit)
        parts.append(part)
    return b"".join(parts)


async def read_json(request: web.Request, kind: type[B], limit: int = MAX_BODY) -> B:
    return parse_json(kind, await read_body(request, limit) or b"{}")


class BodyTooLarge(InputError):
    """More than may be sent (413)."""

    code = "too_large"
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request has more than {limit:,} bytes: split the document, or raise "
                         "WEIR_MAX_DOCUMENT_BYTES")
