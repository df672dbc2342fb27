"""send_email: a mail over SMTP. It cannot be taken back.

Arguments:  {"to": [address], "subject": str, "body": str, "attachments": [str] = []}
            An attachment is the name of an artefact's blob, or `<blob>/<file name>` to say what the file is called.
Content:    JSON {"message_id", "to": [address], "subject", "attachments": [file name]}

The Message-ID is made from the idempotency key. Where a mailbox can be searched that receives every mail sent
(WEIR_MAILBOX), `reconcile` looks for it there.
"""

from __future__ import annotations

import email.policy
from collections.abc import Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

import aiosmtplib
from aiosmtplib.errors import SMTPException, SMTPReadTimeoutError, SMTPResponseException, SMTPServerDisconnected

from consumers.tools.artefacts import loaded
from consumers.tools.mailboxes import Mailbox
from consumers.tools.tool import Call, Returned, Tool, ToolFailed, arguments
from schemas.events import Risk
from weir.agents.canonical import canonical
from weir.blobs import Blobs
from weir.clock import Clock
from weir.errors import Unavailable
from weir.settings import Settings

ADDRESS = r"^[^@\s,;<>\"()\\]+@[^@\s,;<>\"()\\]+$"
ATTACHED_BYTES = 20 * 2**20
CONNECT_SECONDS = 10.0


class SendEmail(Tool):
    name = "send_email"
    description = ("Sends a mail. It cannot be taken back, so that a person approves it first. `attachments` are names "
                   "of artefacts' blobs, each optionally followed by /<file name>. Returns JSON {message_id, to, "
                   "subject, attachments}.")
    schema = arguments(
        ["to", "subject", "body"],
        to={"type": "array", "items": {"type": "string", "pattern": ADDRESS, "maxLength": 254}, "minItems": 1,
            "maxItems": 50, "uniqueItems": True},
        subject={"type": "string", "minLength": 1, "maxLength": 300, "pattern": r"^[^\r\n]*$"},
        body={"type": "string", "maxLength": 100_000, "description": "Plain text."},
        attachments={"type": "array", "maxItems": 20, "default": [], "items": {
            "type": "string", "pattern": r"^[0-9a-f]{64}(/[^/\\\r\n]{1,120})?$"}})
    risk = Risk.IRREVERSIBLE
    timeout = 60.0

    def __init__(self, settings: Settings, blobs: Blobs, mailbox: Mailbox | None, clock: Clock) -> None:
        self._settings, self._blobs, self._mailbox, self._clock = settings, blobs, mailbox, clock
        self.reconciles = mailbox is not None

    async def run(self, call: Call) -> Returned:
        message = await self._message(call)
        await self._send(message, call.arguments["to"])
        return _returned(call, self._message_id(call))

    async def reconcile(self, call: Call) -> Returned | None:
        if self._mailbox is None or not await self._mailbox.holds(self._message_id(call)):
            return None
        return _returned(call, self._message_id(call))

    def _message_id(self, call: Call) -> str:
        return f"<weir-{call.key}@{self._settings.smtp_sender.rpartition('@')[2]}>"

    async def _message(self, call: Call) -> EmailMessage:
        message = EmailMessage(policy=email.policy.SMTP)
        try:
            message["From"] = Address(addr_spec=self._settings.smtp_sender)
            message["To"] = [Address(addr_spec=address) for address in call.arguments["to"]]
            message["Subject"] = call.arguments["subject"]
        except ValueError as e:
            raise ToolFailed(f"the mail cannot be addressed: {e}.") from e
        message["Message-ID"] = self._message_id(call)
        message["Date"] = format_datetime(datetime.fromtimestamp(self._clock() / 1000, UTC))
        message["X-Weir-Task"] = call.task
        message.set_content(call.arguments["body"])
        size = 0
        for named, name in zip(call.arguments["attachments"], _names(call), strict=True):
            data = await loaded(self._blobs, named.partition("/")[0])
            size += len(data)
            if size > ATTACHED_BYTES:
                raise ToolFailed(f"the attachments have more than {ATTACHED_BYTES:,} bytes: attach fewer.")
            kind, _, subtype = _media_type(name).partition("/")
            message.add_attachment(data, maintype=kind, subtype=subtype, filename=name)
        return message

    async def _send(self, message: EmailMessage, to: Sequence[str]) -> None:
        """Until the message itself is on its way everything that goes wrong means that nothing was sent."""
        client = self._client()
        try:
            await client.connect()
            await client.mail(self._settings.smtp_sender)
            for address in to:
                await client.rcpt(address)
        except (SMTPException, OSError, TimeoutError) as e:
            client.close()
            raise _refused(e, f"the mail server {self._settings.smtp_address} did not take the mail") from e
        try:
            await client.data(message.as_bytes())
        except (SMTPServerDisconnected, SMTPReadTimeoutError, OSError, TimeoutError) as e:
            raise Unavailable(f"the mail server broke off while it took the mail ({e}): it may have been sent.") from e
        except SMTPResponseException as e:
            raise _refused(e, "the mail server refused the mail") from e
        finally:
            client.close()

    def _client(self) -> aiosmtplib.SMTP:
        host, _, port = self._settings.smtp_address.rpartition(":")
        password = self._settings.secret(self._settings.smtp_password_file)
        return aiosmtplib.SMTP(
            hostname=host, port=int(port), timeout=CONNECT_SECONDS, use_tls=self._settings.smtp_tls == "tls",
            start_tls=self._settings.smtp_tls == "starttls", username=self._settings.smtp_username or None,
            password=password.get_secret_value() if password else None)


def _refused(error: BaseException, what: str) -> ToolFailed:
    code = error.code if isinstance(error, SMTPResponseException) else 0
    return ToolFailed(f"{what}: {error or type(error).__name__}.", retriable=code < 500)


def _returned(call: Call, message_id: str) -> Returned:
    return Returned(canonical({"message_id": message_id, "to": call.arguments["to"],
                               "subject": call.arguments["subject"], "attachments": _names(call)}))


def _names(call: Call) -> list[str]:
    return [named.partition("/")[2] or f"attachment-{number}"
            for number, named in enumerate(call.arguments["attachments"], 1)]


def _media_type(name: str) -> str:
    known = {"csv": "text/csv", "md": "text/markdown", "txt": "text/plain", "json": "application/json",
             "pdf": "application/pdf", "html": "text/html"}
    return known.get(name.rpartition(".")[2].lower(), "application/octet-stream")
