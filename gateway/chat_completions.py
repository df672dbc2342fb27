"""`POST /v1/chat/completions`: Weir for programs that speak OpenAI's chat completions.

The last user message is the question; `model` is `weir` or `weir/WORKSPACE`. Earlier messages are not read: a
follow-up names `metadata.conversation` and `metadata.follows`, which each reply carries under `weir`. The cited sources
follow the answer's text as a list, and as data under `weir`. Source of the format: OpenAI API reference, "Chat".
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from gateway.answers import gather, stream
from gateway.http import SERVICES, json_response, person_of
from gateway.requests import AskBody, ChatCompletionBody, parse, read_json
from gateway.wire import Message, dumps
from weir.errors import BadRequest

DEFAULT_WORKSPACE = "sample"


async def chat_completions(request: web.Request) -> web.StreamResponse:
    body = await read_json(request, ChatCompletionBody)
    services = request.app[SERVICES]
    ask = _question(body)
    if not body.stream:
        following, done = await gather(lambda send: services.asking.ask(person_of(request), ask, send),
                                       services.settings.answer_timeout)
        return json_response({
            "id": f"chatcmpl-{following.answer}", "object": "chat.completion", "created": services.clock() // 1000,
            "model": body.model, "usage": _usage(done), "weir": _extra(done),
            "choices": [{"index": 0, "message": {"role": "assistant", "content": done["text"] + sources_text(done)},
                         "logprobs": None, "finish_reason": "stop"}]})
    chunks = Chunks(body.model, services.clock() // 1000, bool((body.stream_options or {}).get("include_usage")))
    return await stream(request, lambda send: services.asking.ask(person_of(request), ask, send), chunks.encode,
                        b"data: [DONE]\n\n")


async def models(request: web.Request) -> web.Response:
    """Each workspace that is open to the person, as a model."""
    services, person = request.app[SERVICES], person_of(request)
    names = [w.workspace for w in services.workspaces.all() if services.workspaces.may_ask(person, w)]
    return json_response({"object": "list", "data": [
        {"id": f"weir/{name}", "object": "model", "created": 0, "owned_by": "weir"} for name in names]})


def _question(body: ChatCompletionBody) -> AskBody:
    workspace = body.model.partition("/")[2] or DEFAULT_WORKSPACE
    question = next((m.text for m in reversed(body.messages) if m.role == "user"), "")
    if not question.strip():
        raise BadRequest("there is no user message to answer")
    about = body.metadata
    return parse(AskBody, {"workspace": workspace, "question": question,
                           "conversation": about.conversation if about else None,
                           "follows": about.follows if about else None})


class Chunks:
    """An answer's frames as completion chunks. Text that was sent cannot be taken back in this format, so after a
    reset only what goes beyond it is sent, as long as the new attempt says the same; else the answer is sent anew."""

    def __init__(self, model: str, created: int, usage: bool) -> None:
        self._model = model
        self._created = created
        self._usage = usage
        self._sent = ""
        self._text = ""

    def encode(self, message: Message) -> bytes:
        match message["type"]:
            case "accepted":
                return self._chunk(message, {"role": "assistant", "content": ""})
            case "reset":
                self._text = ""
                return b""
            case "delta":
                self._text += message["text"]
                return self._content(message, self._more())
            case "snapshot":
                self._text = message["text"]
                return self._content(message, self._more())
            case "done":
                self._text = message["text"]
                text = self._more() + sources_text(message)
                end = self._chunk(message, {}, finish="stop", weir=_extra(message))
                usage = self._line(message, {"choices": [], "usage": _usage(message)}) if self._usage else b""
                return self._content(message, text) + end + usage
            case "error":
                return b"data: %b\n\n" % dumps({"error": {"message": message["message"], "type": "server_error",
                                                          "code": message["code"]}})
            case _:
                return b""

    def _more(self) -> str:
        if self._sent.startswith(self._text):
            return ""  # a new attempt that has not said more yet
        same = self._text.startswith(self._sent)
        more = self._text[len(self._sent):] if same else "\n\n" + self._text
        self._sent = self._text
        return more

    def _content(self, message: Message, text: str) -> bytes:
        return self._chunk(message, {"content": text}) if text else b""

    def _chunk(self, message: Message, delta: dict[str, str], *, finish: str | None = None,
               **more: Any) -> bytes:
        return self._line(message, {"choices": [{"index": 0, "delta": delta, "logprobs": None,
                                                 "finish_reason": finish}], **more})

    def _line(self, message: Message, body: dict[str, Any]) -> bytes:
        head = {"id": f"chatcmpl-{message.get('answer', '')}", "object": "chat.completion.chunk",
                "created": self._created, "model": self._model}
        return b"data: %b\n\n" % dumps(head | body)


def sources_text(done: Message) -> str:
    """The sources that the answer cites, as lines of text below it."""
    cited = {c.source for c in done["citations"]}
    lines = [f"[{s.number}] {' > '.join([_line(s.title or s.document), *map(_line, s.heading_path)])}"
             + (f" ({_line(s.source)})" if s.source else "")
             for s in done["sources"] if s.number in cited and s.document]
    return "\n\nSources:\n" + "\n".join(lines) if lines else ""


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _usage(done: Message) -> dict[str, int]:
    return {"prompt_tokens": done["tokens_in"], "completion_tokens": done["tokens_out"],
            "total_tokens": done["tokens_in"] + done["tokens_out"]}


def _extra(done: Message) -> dict[str, Any]:
    return {name: done[name] for name in ("answer", "conversation", "outcome", "sources", "citations", "notices")}
