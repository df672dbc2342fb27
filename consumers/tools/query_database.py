"""query_database: one SQL query that reads, over the connection of WEIR_DATABASE.

Arguments:  {"sql": str, "limit": int?}
Content:    JSON {"columns": [str], "rows": [[value]], "truncated": bool}

Reading only is enforced where nobody can talk the database out of it:
    SQLite      opened read-only; an authorizer that knows selecting, reading and functions and nothing else
    PostgreSQL  a read-only transaction, and the query as the declaration of a cursor, which only a query can be. What a
                function with side effects may do is up to the user's rights: give it a user who may only read.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Sequence
from datetime import date, datetime
from datetime import time as day_time
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import psycopg

from consumers.tools.tool import Call, Returned, Tool, ToolFailed, arguments
from weir.agents.canonical import canonical
from weir.errors import SettingsError, Unavailable
from weir.settings import Settings

CELL_CHARS = 2000
CELL_BYTES = 16 * 2**20
"""Largest value that SQLite may make on the way."""
_SELECT, _READ, _FUNCTION, _RECURSIVE = 21, 20, 31, 33
"""Actions of SQLite's authorizer. Source: sqlite3.h."""
FORBIDDEN = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"})


class Database(Protocol):
    async def query(self, sql: str, limit: int) -> tuple[list[str], list[Sequence[Any]]]:
        """Names of the columns and the first rows.

        Raises:
            ToolFailed: the query is wrong, writes, or takes too long.
            Unavailable: the database does not answer.
        """


class Sqlite:
    def __init__(self, path: str, seconds: float) -> None:
        self._path, self._seconds = path, seconds

    async def query(self, sql: str, limit: int) -> tuple[list[str], list[Sequence[Any]]]:
        return await asyncio.to_thread(self._query, sql, limit)

    def _query(self, sql: str, limit: int) -> tuple[list[str], list[Sequence[Any]]]:
        try:
            connection = sqlite3.connect(f"{Path(self._path).absolute().as_uri()}?mode=ro", uri=True, timeout=2.0)
        except sqlite3.Error as e:
            raise Unavailable(f"cannot open the database: {e}. See WEIR_DATABASE.") from e
        try:
            until = time.monotonic() + self._seconds
            connection.execute("PRAGMA query_only = ON")
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, CELL_BYTES)
            connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            connection.set_progress_handler(lambda: time.monotonic() > until, 1000)
            connection.set_authorizer(_authorize)
            cursor = connection.execute(sql)
            rows = cursor.fetchmany(limit)
            return [column[0] for column in cursor.description or ()], rows
        except (sqlite3.DatabaseError, sqlite3.Warning, ValueError) as e:
            said = f"it took longer than {self._seconds:g} s" if str(e) == "interrupted" else str(e)
            raise ToolFailed(f"the database refuses the query: {said}. Only one SELECT is run.") from e
        finally:
            connection.close()


def _authorize(action: int, first: str | None, second: str | None, _: str | None, __: str | None) -> int:
    fine = action in (_SELECT, _READ, _RECURSIVE) or (action == _FUNCTION and (second or "").lower() not in FORBIDDEN)
    return sqlite3.SQLITE_OK if fine else sqlite3.SQLITE_DENY


class Postgres:
    def __init__(self, url: str, password: str, seconds: float) -> None:
        self._url, self._password, self._seconds = url, password, seconds

    async def query(self, sql: str, limit: int) -> tuple[list[str], list[Sequence[Any]]]:
        millis = int(self._seconds * 1000)
        try:
            connection = await psycopg.AsyncConnection.connect(
                self._url, password=self._password or None, connect_timeout=10, application_name="weir",
                options=f"-c default_transaction_read_only=on -c statement_timeout={millis}")
        except psycopg.Error as e:
            raise Unavailable(f"the database does not answer: {e}") from e
        try:
            await connection.set_read_only(True)
            # A cursor is declared over one query, which cannot be anything else, and fetches no more than asked.
            async with connection.cursor("weir") as cursor:
                await cursor.execute(sql.encode())
                rows = await cursor.fetchmany(limit)
                return [column.name for column in cursor.description or ()], list(rows)
        except psycopg.Error as e:
            raise ToolFailed(f"the database refuses the query: {e}. Only one SELECT is run.") from e
        finally:
            await connection.close()


class QueryDatabase(Tool):
    name = "query_database"

    def __init__(self, settings: Settings) -> None:
        self._database = database(settings)
        most = settings.database_rows
        kind = urlsplit(settings.database).scheme.replace("postgresql", "PostgreSQL").replace("sqlite", "SQLite")
        self.description = (f"Runs one SELECT on the configured {kind} database, which can only be read. Returns JSON "
                            "{columns, rows, truncated}.")
        self.schema = arguments(
            ["sql"], sql={"type": "string", "minLength": 1, "maxLength": 20_000, "description": "One SELECT."},
            limit={"type": "integer", "minimum": 1, "maximum": most, "default": most, "description": "Most rows."})
        self.timeout = settings.database_timeout + 15.0

    async def run(self, call: Call) -> Returned:
        limit = call.arguments["limit"]
        columns, rows = await self._database.query(call.arguments["sql"], limit + 1)
        return Returned(canonical({"columns": columns, "truncated": len(rows) > limit,
                                   "rows": [[_value(cell) for cell in row] for row in rows[:limit]]}))


def database(settings: Settings) -> Database:
    """
    Raises:
        SettingsError: WEIR_DATABASE is neither, or its password cannot be read.
    """
    kind, _, rest = settings.database.partition("://")
    if kind == "sqlite" and rest.startswith("/"):
        return Sqlite(rest[1:], settings.database_timeout)
    if kind in ("postgresql", "postgres"):
        password = settings.secret(settings.database_password_file)
        return Postgres(settings.database, password.get_secret_value() if password else "", settings.database_timeout)
    raise SettingsError(f"WEIR_DATABASE={settings.database!r}: give sqlite:///PATH or postgresql://user@host/name.")


def _value(cell: Any) -> Any:
    """A cell as a value that JSON has."""
    match cell:
        case None | bool():
            return cell
        case int() if abs(cell) < 2**63:
            return cell
        case float() if cell == cell and abs(cell) != float("inf"):
            return cell
        case bytes() | bytearray() | memoryview():
            return f"<{len(bytes(cell))} bytes>"
        case datetime() | date() | day_time():
            return cell.isoformat()
        case Decimal():
            return str(cell)
        case _:
            text = json.dumps(cell, default=str, ensure_ascii=False) if isinstance(cell, dict | list) else str(cell)
            return text if len(text) <= CELL_CHARS else f"{text[:CELL_CHARS]}... ({len(text)} characters)"
