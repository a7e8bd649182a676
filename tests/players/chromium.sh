#!/bin/sh
# Makes sure there is a Chromium for the tests with real players: the one on the path, else the distribution's package.
set -eu
if command -v chromium > /dev/null; then
    exit 0
fi
if ! command -v apt-get > /dev/null; then
    echo "the tests with real players need Chromium: install it so that 'chromium' is on the path" >&2
    exit 1
fi
as_root=""
if [ "$(id -u)" != 0 ]; then
    as_root=sudo
fi
echo "installing the package chromium with apt-get, for the tests with real players"
$as_root apt-get update -q
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium
