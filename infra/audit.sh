#!/usr/bin/env bash
# Look every pinned dependency up in the public databases of known vulnerabilities. Needs the network: none of the tools brings its data.
# Fails when something is known, and also when something could not be looked up: an answer that was not given is no good news.
set -uo pipefail
cd "$(dirname "$0")/.."

tool=.cache/audit
failed=()

if [[ ! -x $tool/bin/pip-audit || infra/audit-requirements.txt -nt $tool ]]; then
    python3 -m venv "$tool" && "$tool/bin/python" -m pip install --quiet -r infra/audit-requirements.txt && touch "$tool" || exit 1
fi

echo "Python: requirements.lock"
# Strict: what the index does not know would else be passed over with status 0.
"$tool/bin/pip-audit" --strict --disable-pip --require-hashes --progress-spinner off -r requirements.lock || failed+=("requirements.lock")

for folder in packager/origin/console tests/players; do
    echo "npm: $folder/package-lock.json"
    (cd "$folder" && npm audit --package-lock-only) || failed+=("$folder/package-lock.json")
done

if ((${#failed[@]})); then
    echo "vulnerable, or not looked up (is there a network, and does the registry answer audits?): ${failed[*]}" >&2
    exit 1
fi
