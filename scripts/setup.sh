#!/bin/sh
# Make the virtual environment and install the package into it, editable, with the tools to work on it.
#   setup.sh PYTHON FOLDER
# Uses uv where it is present, venv and pip where not.
set -eu
python=$1
venv=$2

if ! command -v "$python" > /dev/null; then
    echo "setup: there is no '$python' here. Hybrid Engine needs Python 3.11 or newer: make PYTHON=/path/to/python" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "setup: '$python' is $("$python" --version 2>&1). Hybrid Engine needs Python 3.11 or newer: make PYTHON=python3.12" >&2
    exit 1
fi

echo "setting up $venv with $("$python" --version) …"
if command -v uv > /dev/null; then
    uv venv --quiet --allow-existing --python "$(command -v "$python")" "$venv"
    uv pip install --quiet --python "$venv/bin/python" --editable '.[dev]'
else
    if ! "$python" -c 'import ensurepip, venv' 2> /dev/null; then
        # Debian keeps these in a package of their own.
        if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
            echo "installing python3-venv …"
            apt-get -qq update > /dev/null
            DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-venv > /dev/null 2>&1
        else
            echo "setup: '$python' has no venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2
            exit 1
        fi
    fi
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input --editable '.[dev]' < /dev/null
fi
