#!/bin/sh
# Every check and every test. A check that fails fails the whole, but the others run all the same; what failed is said
# once more at the end.
set -u
cd "$(dirname "$0")/../.." || exit 1
bin=.venv/bin
export PYTHONDONTWRITEBYTECODE=1
shown="--tb=short --show-capture=no --durations=15"
whole="tests/chaos/test_whole_system.py tests/chaos/test_index_servers.py"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

step() {
    name=$1
    shift
    printf '\n== %s\n' "$name"
    { "$@" 2>&1 || echo "FAILED: $name"; } | tee -a "$log"
}

step "ruff" $bin/ruff check .
step "mypy" $bin/mypy
step "import contracts" $bin/lint-imports
! grep -q '^FAILED: ' "$log" || printf '\nA check above failed; the tests follow.\n'
# Modules run side by side, the longest first: most of the time each of them waits.
step "tests: kills, then the real servers, then those that need none" \
    $bin/python -m pytest --own-servers -n 2 --dist loadfile --no-loadscope-reorder $shown \
    $(printf -- '--ignore=%s ' $whole) tests/chaos tests/services tests/unit
# When the servers of the tests above are gone: these have their own, and a small machine has no room for both.
step "tests: a whole Weir, killed part by part" $bin/python -m pytest $shown $whole
if grep -q '^FAILED: ' "$log"; then
    printf '\n== What failed\n'
    grep -E '^(FAILED|ERROR)[: ]' "$log"
    exit 1
fi
