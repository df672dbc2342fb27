"""Settings are told on one page, and what is wrong is said by the name of its variable."""

import pytest

from weir import settings, settings_page
from weir.errors import SettingsError


def test_the_page_of_settings_is_current() -> None:
    assert settings_page.PAGE.read_text() == settings_page.page(), "run `python -m weir.settings_page`"


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_PORT_BASE", "eighty")
    with pytest.raises(SettingsError, match=r"WEIR_PORT_BASE.*'eighty'"):
        settings.load()


def test_a_child_gets_exactly_these_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_PREFIX", "child-")
    monkeypatch.setenv("WEIR_VIEWS_LAG", "3.5")
    parent = settings.load()
    for name, value in settings.environment(parent).items():
        monkeypatch.setenv(name, value)
    assert settings.load() == parent


def test_addresses_follow_the_port_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_PORT_BASE", "20000")
    assert settings.load().kafka_address == "127.0.0.1:20001"
    monkeypatch.setenv("WEIR_KAFKA", "kafka-1:9092")
    assert settings.load().kafka_address == "kafka-1:9092"


def test_a_secret_that_cannot_be_read_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_KAFKA_PASSWORD_FILE", "/nowhere/password")
    loaded = settings.load()
    with pytest.raises(SettingsError, match="/nowhere/password"):
        loaded.secret(loaded.kafka_password_file)
