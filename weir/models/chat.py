"""What a hosted model is to Weir where it is not to stream an answer: turns and functions in, a reply out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from weir.errors import SettingsError
from weir.settings import Settings


@dataclass(frozen=True, slots=True)
class Call:
    """A call that the model made, with its result."""

    id: str
    tool: str
    arguments: dict[str, Any]
    result: str


@dataclass(frozen=True, slots=True)
class Turn:
    """What the model said and called, or, without calls, what one of the two said."""

    role: str
    """`user` or `assistant`."""
    text: str
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    """A tool as a model is told of it."""

    name: str
    description: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call as the model wrote it."""

    tool: str
    arguments: str
    """JSON, if the model kept to it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said, in no provider's format."""

    text: str
    calls: Sequence[Wanted]
    cut_off: bool
    tokens_in: int
    tokens_out: int
    sent: Any
    """The request as sent."""
    received: Any
    """The reply as received."""


class ChatModel(Protocol):
    """A provider's model."""

    @property
    def name(self) -> str: ...

    async def reply(self, system: str, turns: Sequence[Turn], tools: Sequence[Function], most_tokens: int) -> Reply:
        """
        Raises:
            ModelError: the model refused, is away or is misconfigured.
        """

    async def close(self) -> None: ...


def chat_model(settings: Settings) -> ChatModel:
    """The provider's model that the settings name.

    Raises:
        SettingsError: `WEIR_MODEL` is not one of the known forms, or its key cannot be read.
    """
    kind, _, name = settings.model.partition(":")
    if kind not in ("openai", "anthropic") or not name:
        raise SettingsError(f"WEIR_MODEL is {settings.model!r}; it must be `extractive`, `openai:NAME` or "
                            "`anthropic:NAME`")
    from weir.models.chat_providers import AnthropicChat, OpenAIChat

    secret = settings.secret(settings.model_key_file)
    made = OpenAIChat if kind == "openai" else AnthropicChat
    return made(name, key=secret.get_secret_value() if secret else "", url=settings.model_url,
                timeout=settings.model_timeout)
