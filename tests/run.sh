#!/bin/bash
# Runs the named legs in order, all of them even if one fails, each with its time; fails if any did.
set -u
cd "$(dirname "$0")/.." || exit 1
bin=.venv/bin
results=.cache/results
cores=$(nproc)
rm -rf "$results" && mkdir -p "$results"

leg() {
    case $1 in
        lint) $bin/ruff check --output-format concise ;;
        types) $bin/mypy ;;
        imports) $bin/lint-imports ;;
        unit) tests_in unit -n "$cores" --ignore=tests/sim --ignore=tests/broker --ignore=tests/players --ignore=tests/chaos --ignore=tests/bench ;;
        sim) tests_in sim -n "$cores" tests/sim ;;
        broker) tests_in broker -n 2 --dist loadfile tests/broker ;;
        players | chaos) tests_in "$1" "tests/$1" ;;
        *) echo "no such leg: $1" >&2 && return 2 ;;
    esac
}

tests_in() {
    $bin/python -m pytest --junit-xml="$results/$1.xml" "${@:2}"
}

seconds_since() {
    local us=$((${EPOCHREALTIME/[.,]/} - ${1/[.,]/}))
    printf '%d.%d' $((us / 1000000)) $((us / 100000 % 10))
}

start=$EPOCHREALTIME closing=() failed=()
for name in "$@"; do
    printf '\n== %s\n' "$name"
    begin=$EPOCHREALTIME
    leg "$name"
    status=$?
    [ $status = 0 ] || failed+=("$name")
    closing+=("$(printf '%-8s %-7s %7s s' "$name" "$([ $status = 0 ] && echo ok || echo FAILED)" "$(seconds_since "$begin")")")
done

printf '\n== all legs\n'
printf '%s\n' "${closing[@]}"
$bin/python -m tests.summary "$results" "$(seconds_since "$start")" "${failed[@]}"
exit $((${#failed[@]} > 0))
