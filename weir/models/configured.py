"""The language model that the settings name."""

from __future__ import annotations

from weir.errors import SettingsError
from weir.models.extractive import Extractive
from weir.models.protocol import LanguageModel, Prices
from weir.settings import Settings


def model_from(settings: Settings) -> LanguageModel:
    """
    Raises:
        SettingsError: `WEIR_MODEL` is not one of the known forms, or its key cannot be read.
    """
    kind, _, name = settings.model.partition(":")
    if settings.model == Extractive.name:
        return Extractive()
    if kind not in ("openai", "anthropic") or not name:
        raise SettingsError(f"WEIR_MODEL is {settings.model!r}; it must be `extractive`, `openai:NAME` or "
                            "`anthropic:NAME`")
    # The clients take half a second to import; a Weir without a model never needs them.
    from weir.models.anthropic import AnthropicModel
    from weir.models.openai import OpenAIModel

    secret = settings.secret(settings.model_key_file)
    prices = Prices(settings.model_price_in, settings.model_price_out)
    key = secret.get_secret_value() if secret else ""
    made = OpenAIModel if kind == "openai" else AnthropicModel
    return made(name, key=key, url=settings.model_url, timeout=settings.model_timeout, prices=prices)
