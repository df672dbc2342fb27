"""The pages: a few static files, read and filled in once, and the policy that keeps a browser from running others.

`pages/parts/` holds what the pages have in common; nothing of it is served by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER = Path(__file__).parent / "pages"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

POLICY = "; ".join([
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
    "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
    "trusted-types 'none'"])
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@dataclass(frozen=True, slots=True)
class File:
    body: bytes
    content_type: str
    etag: str


def load(folder: Path = FOLDER) -> dict[str, File]:
    """Each file by the path under which it is served."""
    templates = Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined,
                            trim_blocks=True, lstrip_blocks=True)
    files = {}
    for path in sorted(folder.glob("*.*")):
        body = templates.get_template(path.name).render().encode() if path.suffix == ".html" else path.read_bytes()
        files[_address(path.name)] = File(body, TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:32])
    return files


def _address(name: str) -> str:
    """`/` for index.html, `/tasks` for tasks.html, the name for all else."""
    return f"/{name.removesuffix('.html').removesuffix('index')}" if name.endswith(".html") else f"/{name}"


def routes(files: dict[str, File]) -> list[web.RouteDef]:
    return [web.get(path, _handler(file)) for path, file in files.items()]


def _handler(file: File) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def page(request: web.Request) -> web.StreamResponse:
        headers = {"ETag": f'"{file.etag}"', "Cache-Control": "no-cache"}
        if f'"{file.etag}"' in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=headers)

    return page
