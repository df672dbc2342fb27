"""Mailboxes in which one can see whether a mail was sent: a Maildir, or a folder on an IMAP server."""

from __future__ import annotations

import asyncio
import email
import email.policy
import imaplib
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from weir.errors import SettingsError, Unavailable
from weir.settings import Settings

IMAP_SECONDS = 15.0
HEADER_BYTES = 64 * 1024


class Mailbox(Protocol):
    async def holds(self, message_id: str) -> bool:
        """Whether a mail with this Message-ID is in it.

        Raises:
            Unavailable: the mailbox cannot be read.
        """


class Maildir:
    """A folder with `new` and `cur`, one file a mail."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def holds(self, message_id: str) -> bool:
        return await asyncio.to_thread(self._holds, message_id)

    def _holds(self, message_id: str) -> bool:
        try:
            files = [file for part in ("new", "cur") for file in (self._folder / part).iterdir()]
        except OSError as e:
            raise Unavailable(f"cannot read the mailbox {self._folder}: {e}") from e
        for file in files:
            try:
                with file.open("rb") as opened:
                    header = opened.read(HEADER_BYTES)
            except FileNotFoundError:
                # Moved from `new` to `cur` in between, or deleted.
                continue
            if message_id.encode() not in header:
                continue
            message = email.message_from_bytes(header, policy=email.policy.default)
            if message.get("Message-ID", "").strip() == message_id:
                return True
        return False


class Imap:
    """A folder on an IMAP server, `imaps://user@host:port/Folder`; `imap://` only for a server on this machine."""

    def __init__(self, url: str, password: str) -> None:
        parts = urlsplit(url)
        if not parts.hostname or not parts.username:
            raise SettingsError(f"WEIR_MAILBOX={url!r}: give imaps://user@host/Folder.")
        self._secure, self._host, self._port = parts.scheme == "imaps", parts.hostname, parts.port
        self._user, self._password = unquote(parts.username), password
        self._folder = unquote(parts.path.strip("/")) or "INBOX"

    async def holds(self, message_id: str) -> bool:
        return await asyncio.to_thread(self._holds, message_id)

    def _holds(self, message_id: str) -> bool:
        kind = imaplib.IMAP4_SSL if self._secure else imaplib.IMAP4
        try:
            with kind(self._host, self._port or (993 if self._secure else 143), timeout=IMAP_SECONDS) as client:
                client.login(self._user, self._password)
                said, _ = client.select(f'"{self._folder}"', readonly=True)
                if said != "OK":
                    raise Unavailable(f"the mailbox has no folder {self._folder!r}: see WEIR_MAILBOX.")
                said, found = client.uid("SEARCH", "HEADER", "Message-ID", f'"{message_id}"')
                return said == "OK" and bool(found and found[0])
        except (OSError, imaplib.IMAP4.error) as e:
            raise Unavailable(f"the mailbox on {self._host} does not answer: {e}") from e


def mailbox(settings: Settings) -> Mailbox | None:
    """The mailbox of the settings; None where there is none.

    Raises:
        SettingsError: WEIR_MAILBOX is neither, or the password cannot be read.
    """
    url = settings.mailbox_url
    if not url:
        return None
    kind, _, rest = url.partition(":")
    if kind == "maildir":
        return Maildir(Path(rest))
    if kind in ("imap", "imaps"):
        password = settings.secret(settings.mailbox_password_file)
        return Imap(url, password.get_secret_value() if password else "")
    raise SettingsError(f"WEIR_MAILBOX={url!r}: give maildir:PATH or imaps://user@host/Folder.")
