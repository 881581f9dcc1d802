#!/usr/bin/env bash
# What to run first where a CUDA card is at hand, in a quarter of an hour: is everything there, do tests/gpu pass, how fast
# and how large is a step beside stock TRL's, what is it made of. Each step has a limit of its own; what is known is written
# down after each, in one JSON document.
#
#   tests/gpu/first_fifteen_minutes.sh --rows HH.jsonl.gz [--minutes 15] [--to FOLDER] [--only STEP,…] [--wheels FOLDER]
#   tests/gpu/first_fifteen_minutes.sh --dry-run          # on the CPU with tiny models: tries the script, measures nothing
#
# --wheels installs the wheels of a folder for this run alone, on a machine without a network that has PyTorch already.
# PYTHON says which Python; the default is .venv's where there is one. Exit status: 0 where every step ended well.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-}
if [ -z "$python" ]; then
    python=python3
    [ ! -x .venv/bin/python ] || python=.venv/bin/python
fi
site=""
trap '[ -z "$site" ] || rm -rf "$site"' EXIT
others=()
while [ $# -gt 0 ]; do
    case $1 in
    --wheels)
        [ -d "${2:-}" ] || { echo "--wheels names no folder: ${2:-}" >&2; exit 2; }
        site=$(mktemp -d)
        timeout 120 "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$2"/*.whl
        shift 2
        ;;
    *)
        others+=("$1")
        shift
        ;;
    esac
done
export PYTHONPATH=$PWD${site:+:$site}${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
"$python" -m tests.gpu.first_fifteen_minutes --spent "$SECONDS" ${others[@]+"${others[@]}"}
