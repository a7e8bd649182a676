#!/bin/bash
# Runs the named legs in order, all of them even if one fails, each with its time; fails if any did.
set -u
cd "$(dirname "$0")/.." || exit 1
bin=.venv/bin

leg() {
    case $1 in
        lint) $bin/ruff check ;;
        types) $bin/mypy ;;
        imports) $bin/lint-imports ;;
        unit) $bin/python -m pytest --ignore=tests/sim --ignore=tests/broker --ignore=tests/players --ignore=tests/bench ;;
        sim | broker | players) $bin/python -m pytest "tests/$1" ;;
        *) echo "no such leg: $1" >&2 && return 2 ;;
    esac
}

seconds_since() {
    local us=$((${EPOCHREALTIME/./} - ${1/./}))
    printf '%d.%d' $((us / 1000000)) $((us / 100000 % 10))
}

closing=() failed=0
for name in "$@"; do
    printf '\n== %s\n' "$name"
    begin=$EPOCHREALTIME
    leg "$name"
    status=$?
    [ $status = 0 ] || failed=1
    closing+=("$(printf '%-8s %-7s %7s s' "$name" "$([ $status = 0 ] && echo ok || echo FAILED)" "$(seconds_since "$begin")")")
done

printf '\n== all legs\n'
printf '%s\n' "${closing[@]}"
exit $failed
