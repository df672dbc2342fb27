"""A mail server that delivers to nobody: what tasks send lies in a Maildir and is shown on a plain page.

SMTP on port MAIL, the page on port MAIL_PAGE, both on this machine alone. A mail is accepted once it is on the disk.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import mailbox
import re
import signal
import sys
from collections.abc import Callable
from email.message import EmailMessage, Message
from html import escape
from pathlib import Path
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from weir import telemetry
from weir.errors import SettingsError
from weir.settings import Port, Settings, load

NAME = "infra.local.mail"
LARGEST = 32 * 2**20
SHOWN = 200
"""Mails on the page, newest first."""
POLICY = ("default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
           "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
           "Cache-Control": "no-store"}
STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .4rem; border-bottom: 1px solid #ccc }
dt { font-weight: 600 } pre { white-space: pre-wrap; border: 1px solid #ccc; padding: 1rem }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #eee } a { color: #8cf } }
"""

log = telemetry.logger(NAME)


class Post:
    """The mails of one folder."""

    def __init__(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._box = mailbox.Maildir(str(folder), create=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # its name
        """Called by aiosmtpd with a whole mail; its answer goes back to the sender."""
        try:
            await asyncio.to_thread(self._keep, bytes(envelope.original_content or b""))
        except OSError as e:
            log.error("a mail could not be kept", reason=str(e))
            return "452 the disk does not take it"
        log.info("mail", sender=envelope.mail_from, to=envelope.rcpt_tos)
        return "250 kept, and delivered to nobody"

    def _keep(self, data: bytes) -> None:
        # Written under `tmp` and renamed: whoever looks sees whole mails alone.
        self._box.add(data)

    def newest(self) -> list[tuple[str, EmailMessage]]:
        """Names and mails, newest first."""
        files = [file for part in ("new", "cur") for file in (self._folder / part).iterdir()]
        files.sort(key=lambda file: file.stat().st_mtime_ns, reverse=True)
        return [(file.name, _read(file)) for file in files[:SHOWN]]

    def one(self, name: str) -> EmailMessage | None:
        # Only a name that is in the folder: nothing of the address becomes a path.
        for part in ("new", "cur"):
            for file in (self._folder / part).iterdir():
                if file.name == name:
                    return _read(file)
        return None


def _read(file: Path) -> EmailMessage:
    message: Message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


# -- the page -----------------------------------------------------------------------------------------------------


def pages(post: Post, port: int) -> web.Application:
    """The page of a folder.

    Args:
        port: a request for another host or port is refused, so that no foreign name leads here.
    """
    @web.middleware
    async def guard(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        if request.host not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            raise web.HTTPMisdirectedRequest
        answer: web.StreamResponse = await handler(request)
        answer.headers.update(HEADERS)
        return answer

    async def index(_: web.Request) -> web.Response:
        rows = [f'<tr><td><a href="/mails/{escape(name, quote=True)}">{_header(mail, "Subject")}</a></td>'
                f'<td>{_header(mail, "To")}</td><td>{_header(mail, "Date")}</td></tr>'
                for name, mail in await asyncio.to_thread(post.newest)]
        head = "<tr><th>Subject</th><th>To</th><th>Date</th></tr>"
        body = f"<table>{head}{''.join(rows)}</table>" if rows else "<p>No mail yet.</p>"
        return _page("Mails that tasks have sent", "<p>This server delivers to nobody.</p>" + body)

    async def mail(request: web.Request) -> web.Response:
        found = await _found(request)
        names = "".join(f"<dt>{name}</dt><dd>{_header(found, name)}</dd>"
                        for name in ("From", "To", "Date", "Message-ID", "X-Weir-Task"))
        here = f'/mails/{escape(request.match_info["name"], quote=True)}'
        files = "".join(f'<li><a href="{here}/{number}">{escape(part.get_filename() or "attachment")}</a> '
                        f"({len(_bytes(part)):,} bytes)</li>" for number, part in enumerate(found.iter_attachments()))
        text = found.get_body(("plain", "html"))
        content = escape(str(text.get_content())) if text is not None else ""
        attached = f"<h2>Attachments</h2><ul>{files}</ul>" if files else ""
        return _page(_header(found, "Subject"), f'<p><a href="/">All mails</a></p><dl>{names}</dl><pre>{content}</pre>'
                     + attached)

    async def attachment(request: web.Request) -> web.Response:
        parts = list((await _found(request)).iter_attachments())
        number = request.match_info["number"]
        if not number.isdecimal() or int(number) >= len(parts):
            raise web.HTTPNotFound
        # Always a download: nothing that a task made is shown as a page.
        return web.Response(body=_bytes(parts[int(number)]), content_type="application/octet-stream", headers={
            "Content-Disposition": disposition(parts[int(number)].get_filename() or "attachment")})

    async def style(_: web.Request) -> web.Response:
        return web.Response(text=STYLE, content_type="text/css")

    async def _found(request: web.Request) -> EmailMessage:
        found = await asyncio.to_thread(post.one, request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return found

    app = web.Application(middlewares=[guard])
    app.add_routes([web.get("/", index), web.get("/style.css", style), web.get("/mails/{name}", mail),
                    web.get("/mails/{name}/{number}", attachment)])
    return app


def disposition(name: str) -> str:
    """A file name that a header can carry."""
    return 'attachment; filename="' + re.sub(r"[^A-Za-z0-9._-]", "_", name) + '"'


def _page(title: str, body: str) -> web.Response:
    """`title` and `body` are HTML."""
    return web.Response(content_type="text/html", text=f'<!doctype html><html lang="en"><meta charset="utf-8"><meta '
                        f'name="viewport" content="width=device-width"><title>{title}</title><link rel="stylesheet" '
                        f'href="/style.css"><h1>{title}</h1>{body}</html>')


def _header(mail: EmailMessage, name: str) -> str:
    return escape(str(mail.get(name, ""))) or "&nbsp;"


def _bytes(part: Message) -> bytes:
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


# -- the process --------------------------------------------------------------------------------------------------


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serves SMTP and the page until `stop`."""
    loop = asyncio.get_running_loop()
    post = Post(settings.maildir)
    smtp = await loop.create_server(
        lambda: SMTP(post, hostname="localhost", data_size_limit=LARGEST, enable_SMTPUTF8=True, loop=loop),
        settings.host, settings.port(Port.MAIL))
    runner = web.AppRunner(pages(post, settings.port(Port.MAIL_PAGE)), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, settings.host, settings.port(Port.MAIL_PAGE)).start()
    log.info("serving", smtp=settings.port(Port.MAIL), page=settings.port(Port.MAIL_PAGE))
    await stop.wait()
    smtp.close()
    await runner.cleanup()


async def _main(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop)


def main() -> None:
    try:
        settings = load()
        provider = telemetry.start(settings, settings.process or NAME)
    except (SettingsError, OSError) as e:
        print(f"{NAME}: {e}", file=sys.stderr)
        sys.exit(2)
    asyncio.run(_main(settings))
    provider.shutdown()


if __name__ == "__main__":
    main()
