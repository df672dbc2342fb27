"""What stands in the way of a start is said before anything starts, with what to do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local import machine
from infra.local.machine import Plan
from weir.settings import Port, Settings

ROOT = Path(__file__).parents[2]


def plan(folder: Path, **environment: str) -> Plan:
    return Plan.read(environment, folder)


@pytest.fixture
def base() -> int:
    """A port base of which nothing is in use."""
    for candidate in range(30000, 60000, 100):
        if all(machine.port_is_free("0.0.0.0", candidate + offset) for offset in range(100)):
            return candidate
    raise AssertionError("no hundred free ports in a row")


def jdk(folder: Path, version: str) -> Path:
    javac = folder / "bin" / "javac"
    javac.parent.mkdir(parents=True)
    javac.write_text(f"#!/bin/sh\necho javac {version}\n")
    javac.chmod(0o755)
    return folder


def test_the_plan_has_the_defaults_of_the_settings(tmp_path: Path) -> None:
    settings = Settings.model_construct()
    told = plan(tmp_path)
    assert (told.home, told.servers_dir) == (tmp_path / settings.home, tmp_path / settings.servers_dir)
    assert (told.host, told.port_base) == (settings.host, settings.port_base)
    assert told.heaps_gb == pytest.approx(
        machine.heap_gb(settings.kafka_heap) + machine.heap_gb(settings.elasticsearch_heap)
    )


def test_this_machine_is_accepted() -> None:
    assert machine.system_problems() == []
    assert machine.python_problems() == []


@pytest.mark.parametrize("version", ["glibc 2.34", "glibc 1.99", "", "musl 1.2"])
def test_an_old_or_other_c_library_is_refused(version: str) -> None:
    (problem,) = machine.glibc_problems(version)
    assert "2.35" in problem and "Debian 12" in problem


@pytest.mark.parametrize("version", ["glibc 2.35", "glibc 2.41", "glibc 3.0"])
def test_a_recent_c_library_is_accepted(version: str) -> None:
    assert machine.glibc_problems(version) == []


def test_the_first_jdk_that_is_new_enough_is_taken(tmp_path: Path) -> None:
    old, new, newer = (jdk(tmp_path / v, v) for v in ("17.0.2", "21.0.1", "25"))
    assert machine.find_jdk({}, [tmp_path / "nothing", old, new, newer]) == new


def test_without_a_jdk_the_refusal_names_what_was_seen_and_the_setting(tmp_path: Path) -> None:
    problem = machine.find_jdk({}, [jdk(tmp_path / "old", "17.0.2"), tmp_path / "jre"])
    assert isinstance(problem, str)
    assert f"{tmp_path / 'old'} (17)" in problem and f"{tmp_path / 'jre'} (no compiler)" in problem
    assert "WEIR_JAVA_HOME" in problem and "21" in problem


def test_a_named_jdk_goes_before_the_path(tmp_path: Path) -> None:
    here = jdk(tmp_path / "named", "22")
    environment = {"WEIR_JAVA_HOME": str(here), "JAVA_HOME": "/elsewhere", "PATH": os.environ["PATH"]}
    assert machine.jdk_candidates(environment)[:2] == [here, Path("/elsewhere")]


def test_without_maven_the_refusal_says_how_to_get_it(tmp_path: Path) -> None:
    (problem,) = machine.tool_problems({"PATH": str(tmp_path)})
    assert "mvn" in problem and "apt install maven" in problem


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_of_another_user_in_milvus_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "milvus").mkdir(mode=0o500)
    (problem,) = machine.runtime_problems(tmp_path / "milvus")
    assert "chmod 1777" in problem and (tmp_path / "milvus").owner() in problem


def test_a_shared_or_missing_folder_is_not_in_milvus_way(tmp_path: Path) -> None:
    assert machine.runtime_problems(tmp_path) == []
    assert machine.runtime_problems(tmp_path / "missing") == []


def test_too_little_disk_names_the_folder_and_the_setting(tmp_path: Path) -> None:
    problems = machine.disk_problems(plan(tmp_path), free=lambda folder: 0.3)
    assert [p for p in problems if "WEIR_HOME" in p and "0.3 GB" in p]
    assert [p for p in problems if "WEIR_SERVERS_DIR" in p]
    assert machine.disk_problems(plan(tmp_path), free=lambda folder: 500.0) == []


def test_too_little_memory_names_what_takes_it(tmp_path: Path) -> None:
    (problem,) = machine.memory_problems(plan(tmp_path), have=2.0)
    assert "2.0 GB" in problem and "WEIR_KAFKA_HEAP" in problem
    assert machine.memory_problems(plan(tmp_path), have=8.0) == []


def test_smaller_heaps_need_less_memory(tmp_path: Path) -> None:
    small = plan(tmp_path, WEIR_KAFKA_HEAP="256m", WEIR_ELASTICSEARCH_HEAP="256m")
    assert machine.memory_problems(plan(tmp_path), have=3.5) and not machine.memory_problems(small, have=3.5)


def test_a_port_in_use_is_named_with_its_user_and_the_setting_that_moves_it(tmp_path: Path, base: int) -> None:
    there = plan(tmp_path, WEIR_PORT_BASE=str(base))
    assert machine.port_problems(there, processes=3) == []
    with socket.create_server(("127.0.0.1", base + Port.ELASTICSEARCH)):
        (problem,) = machine.port_problems(there, processes=3)
        assert f"{base + Port.ELASTICSEARCH} (elasticsearch)" in problem
        assert f"process {os.getpid()}" in problem and "WEIR_PORT_BASE" in problem
        assert machine.port_problems(there, processes=3, ours=frozenset({os.getpid()})) == []


def test_a_metrics_port_in_use_is_seen(tmp_path: Path, base: int) -> None:
    with socket.create_server(("127.0.0.1", base + Port.METRICS + 2)):
        assert machine.port_problems(plan(tmp_path, WEIR_PORT_BASE=str(base)), processes=2) == []
        assert machine.port_problems(plan(tmp_path, WEIR_PORT_BASE=str(base)), processes=3)


def test_milvus_minds_a_port_in_use_on_another_address(tmp_path: Path, base: int) -> None:
    """It listens on every interface, so another address of this machine is in its way as well."""
    with socket.create_server(("127.0.0.2", base + Port.MILVUS)):
        assert machine.port_problems(plan(tmp_path, WEIR_PORT_BASE=str(base)), processes=0)
    with socket.create_server(("127.0.0.2", base + Port.KAFKA)):
        assert machine.port_problems(plan(tmp_path, WEIR_PORT_BASE=str(base)), processes=0) == []


def test_the_first_start_refuses_before_it_creates_anything(tmp_path: Path, base: int) -> None:
    """Run as `make run` does, on a machine without Maven and with a port in use."""
    tree = tmp_path / "weir"
    for module in ("infra/local/bootstrap.py", "infra/local/machine.py", "weir/ports.py"):
        (tree / module).parent.mkdir(parents=True, exist_ok=True)
        (tree / module).write_bytes((ROOT / module).read_bytes())
    before = sorted(p for p in tree.rglob("*") if p.name != "__pycache__")
    with socket.create_server(("127.0.0.1", base + Port.GATEWAY)):
        done = subprocess.run(
            [sys.executable, "-B", str(tree / "infra/local/bootstrap.py")],
            env={"PATH": str(tmp_path), "WEIR_PORT_BASE": str(base)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2, done.stderr
    assert "Nothing was changed" in done.stdout
    assert "mvn" in done.stdout and f"{base} (gateway)" in done.stdout
    assert sorted(p for p in tree.rglob("*") if p.name != "__pycache__") == before
