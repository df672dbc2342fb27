"""The OpenAPI document of the REST part, made from the bodies that the handlers check."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from aiohttp import web
from pydantic.json_schema import models_json_schema

from gateway import requests, task_requests
from gateway.http import json_response
from gateway.requests import ChatCompletionBody


class Operation(NamedTuple):
    method: str
    path: str
    summary: str
    body: type[Any] | None = None
    status: int = 200
    content: str = "application/json"


OPERATIONS = (
    Operation("post", "/v1/answers", "Ask; the answer's frames as server-sent events", requests.AskBody,
              content="text/event-stream"),
    Operation("get", "/v1/answers/{answer}", "Take an answer up again after `cursor`", content="text/event-stream"),
    Operation("post", "/v1/answers/{answer}/cancel", "Stop an answer", requests.CancelBody, 202),
    Operation("post", "/v1/search", "Find passages without an answer", requests.SearchBody),
    Operation("post", "/v1/chat/completions", "OpenAI-compatible chat completions", ChatCompletionBody),
    Operation("get", "/v1/models", "Workspaces as models"),
    Operation("get", "/v1/workspaces", "Workspaces that are open to you"),
    Operation("get", "/v1/workspaces/{workspace}", "Settings of a workspace"),
    Operation("put", "/v1/workspaces/{workspace}", "Set up a workspace (administrators)", requests.WorkspaceBody),
    Operation("get", "/v1/workspaces/{workspace}/documents", "Documents that are open to you"),
    Operation("post", "/v1/workspaces/{workspace}/documents", "Publish or replace a document", requests.DocumentBody,
              202),
    Operation("get", "/v1/workspaces/{workspace}/documents/{document}", "How far a document has come"),
    Operation("delete", "/v1/workspaces/{workspace}/documents/{document}", "Delete a document", None, 202),
    Operation("get", "/v1/workspaces/{workspace}/documents/{document}/sections/{section}", "A section's text"),
    Operation("get", "/v1/conversations", "Your conversations"),
    Operation("get", "/v1/conversations/{conversation}", "The turns of a conversation"),
    Operation("get", "/v1/turns/{turn}", "A turn"),
    Operation("post", "/v1/turns/{turn}/feedback", "Say what you think of a turn", requests.FeedbackBody, 202),
    Operation("post", "/v1/turns/{turn}/golden", "Put a marked answer's question into a golden set",
              requests.GoldenBody, 201),
    Operation("get", "/v1/golden", "Golden sets of workspaces that you may publish into"),
    Operation("get", "/v1/golden/{set}", "A golden set, as of `version` or the newest"),
    Operation("get", "/v1/evaluations", "Runs of golden sets, newest first"),
    Operation("get", "/v1/evaluations/{run}", "A run, question by question beside the one it was compared with"),
    Operation("get", "/v1/evaluations/{run}/picture.svg", "A run as a picture", content="image/svg+xml"),
    Operation("post", "/v1/workspaces/{workspace}/tasks", "Ask for a task", task_requests.TaskBody, 202),
    Operation("get", "/v1/tasks", "Your tasks"),
    Operation("get", "/v1/tasks/{task}", "A task: how it stands, its steps, its result"),
    Operation("get", "/v1/tasks/{task}/plans/{offset}", "What the language model was sent and said in a step"),
    Operation("get", "/v1/tasks/{task}/artefacts/{name}", "A file that a task made",
              content="application/octet-stream"),
    Operation("post", "/v1/tasks/{task}/cancel", "Stop a task", task_requests.CancelTaskBody),
    Operation("post", "/v1/tasks/{task}/messages", "Tell a task something", task_requests.MessageBody),
    Operation("post", "/v1/tasks/{task}/budget", "Add to a task's budget", task_requests.BudgetBody),
    Operation("post", "/v1/tasks/{task}/fork", "A new task that goes on after a step", task_requests.ForkBody, 202),
    Operation("get", "/v1/approvals", "Proposals that you may decide about, or the history"),
    Operation("get", "/v1/approvals/{approval}", "A proposal"),
    Operation("post", "/v1/approvals/{approval}/verdict", "Decide about a proposal", task_requests.VerdictBody),
    Operation("post", "/v1/approvals/verdicts", "Decide about several proposals of one tool",
              task_requests.ManyVerdictsBody),
    Operation("get", "/v1/tools", "What a new task may use"),
    Operation("get", "/v1/usage", "What was used, by task, person, tool, kind, model or step"),
    Operation("get", "/v1/insights", "Live figures by minute, of the workspaces into which one may publish"),
    Operation("post", "/v1/route", "Whether a text is a question or a task, and why", task_requests.RouteBody),
    Operation("get", "/v1/me", "Who you are"),
    Operation("get", "/v1/session", "How people sign in here"),
    Operation("post", "/v1/session", "Sign in", requests.SessionBody),
    Operation("delete", "/v1/session", "Sign out", None, 204),
    Operation("get", "/v1/caches", "What the caches of your workspaces did in the last `hours`"),
    Operation("get", "/healthz", "Whether the process lives"),
    Operation("get", "/readyz", "Whether it can serve"),
)

ERROR = {"type": "object", "required": ["error"], "properties": {"error": {
    "type": "object", "required": ["code", "message", "retriable"], "properties": {
        "code": {"type": "string"}, "message": {"type": "string"}, "retriable": {"type": "boolean"},
        "retry_after": {"type": ["number", "null"], "description": "Seconds"}}}}}


@cache
def specification() -> dict[str, Any]:
    bodies: list[type[Any]] = [o.body for o in OPERATIONS if o.body is not None]
    schemas = models_json_schema([(b, "validation") for b in bodies],
                                 ref_template="#/components/schemas/{model}")[1].get("$defs", {})
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Weir", "version": "1", "description": "Documents in, cited answers out."},
        "security": [{"bearer": []}],
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
                       "schemas": {**schemas, "Error": ERROR}},
        "paths": paths}


def _described(operation: Operation) -> dict[str, Any]:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    described: dict[str, Any] = {
        "summary": operation.summary,
        "parameters": [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names],
        "responses": {str(operation.status): {"description": operation.summary, "content": {operation.content: {}}},
                      "default": {"description": "What went wrong and what to do", "content": {
                          "application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}}}
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {
            "schema": {"$ref": f"#/components/schemas/{operation.body.__name__}"}}}}
    return described


async def document(request: web.Request) -> web.Response:
    return json_response(specification())
