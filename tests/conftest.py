"""Where the tests' servers come from, and what every test may use.

    pytest                  attaches to the servers of the current settings if they run, else starts its own
    pytest --own-servers    always its own, in `.weir-test` and on ports of their own (`make test`)
    pytest --containers     the official images, where a container engine answers

Tests marked `services` or `chaos` get the servers; the others run without. Each test uses a prefix of its own, so an
attached Weir's data is never touched, and modules may run side by side (`-n 2 --dist loadfile`, as `make test` does).
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from weir.settings import Settings, environment, load

if TYPE_CHECKING:
    from playwright.async_api import Browser

STARTED = pytest.StashKey[bool]()
"""There where this process uses the servers of the tests."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--own-servers", action="store_true", help="start servers for the tests though others run")
    parser.addoption("--containers", action="store_true", help="start the servers from their official images")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and any(item.get_closest_marker(name) for name in ("services", "chaos")):
            # Before all others: they read the settings that it makes.
            item.fixturenames.insert(0, "servers")


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Settings that lead to running servers; the environment says the same while the session lasts."""
    with pytest.MonkeyPatch.context() as patch:
        if request.config.getoption("--containers"):
            from tests.kit.containers import containers, engine_answers

            if not engine_answers():
                pytest.exit("--containers needs a container engine, and none answers (DOCKER_HOST says where)", 4)
            with containers(load()) as addresses:
                for name, value in addresses.items():
                    patch.setenv(name, value)
                yield load()
            return

        from tests.kit.servers import TEST_HOME, of_the_tests, running

        if running(load()) and not request.config.getoption("--own-servers"):
            yield load()
            return
        own = of_the_tests()
        # Whichever of the processes that share the tests comes first starts them; the one that collects stops them.
        with TEST_HOME.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not own.running:
                # What an earlier run left behind, processes included.
                own.stop()
                shutil.rmtree(TEST_HOME, ignore_errors=True)
            own.start()
        for name, value in environment(own.settings).items():
            if name.startswith("WEIR_"):
                patch.setenv(name, value)
        request.config.stash[STARTED] = True
        yield own.settings


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stops the servers of the tests when no process needs them any more."""
    if hasattr(config, "workerinput"):  # one of several processes; the one that collects is not
        return
    if STARTED in config.stash or config.getoption("numprocesses", None):
        from tests.kit.servers import of_the_tests

        of_the_tests().stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """A headless browser; where there is none, the tests that look at pages say that they did not run."""
    from tests.kit.chromium import NoChromium, browser

    try:
        async with browser() as made:
            yield made
    except NoChromium as e:
        pytest.skip(f"the pages were not looked at: {e}")
