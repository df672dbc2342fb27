#!/bin/sh
# Every check and every test, one after the other; the first that fails ends it. The last line is pytest's.
set -eu
cd "$(dirname "$0")/../.."
bin=.venv/bin
export PYTHONDONTWRITEBYTECODE=1

step() { printf '\n== %s\n' "$1"; shift; "$@"; }

step "ruff" $bin/ruff check .
step "mypy" $bin/mypy
step "import contracts" $bin/lint-imports
step "tests: no server, then the real servers, then kills" $bin/python -m pytest --own-servers tests/unit tests/services tests/chaos
