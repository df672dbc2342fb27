#!/bin/sh
# Every check and every test. A check that fails fails the whole, but the others run all the same.
set -u
cd "$(dirname "$0")/../.." || exit 1
bin=.venv/bin
export PYTHONDONTWRITEBYTECODE=1
shown="--tb=short --show-capture=no --durations=15"
whole="tests/chaos/test_whole_system.py tests/chaos/test_index_servers.py"
failed=0

step() { printf '\n== %s\n' "$1"; shift; "$@" || failed=1; }

step "ruff" $bin/ruff check .
step "mypy" $bin/mypy
step "import contracts" $bin/lint-imports
[ $failed = 0 ] || printf '\nA check above failed; the tests follow.\n'
step "tests: no server, then the real servers, then kills" \
    $bin/python -m pytest --own-servers $shown $(printf -- '--ignore=%s ' $whole) tests/unit tests/services tests/chaos
# When the servers of the tests above are gone: these have their own, and a small machine has no room for both.
step "tests: a whole Weir, killed part by part" $bin/python -m pytest $shown $whole
exit $failed
