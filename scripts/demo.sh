#!/usr/bin/env bash
# The main job, told in short sentences: a CSV file is profiled, cleaned and reported; in the middle of it the daemon is
# killed with -9; started again, it takes over the step that went on without it, and finishes. Leaves nothing behind.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/hybrid-demo.XXXXXX")
export HYBRID_HOME=$scratch/home
unset WORKFLOWS_DIR QUEUE_STATE_FILE MAX_PARALLEL_NODES LOG_LEVEL HYBRID_USER

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
tell() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
show() { sed "s|$scratch/||g; s|^|    |"; }
does() { printf '%s  $ %s%s\n' "$dim" "$*" "$plain" && "$@" 2>&1 | show; }

clean_up() {
    hybrid stop > /dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap clean_up EXIT

# Wait until a command succeeds, but not for ever.
until_true() {
    for _ in $(seq 600); do
        "$@" > /dev/null 2>&1 && return
        sleep 0.05
    done
    echo "demo: this did not come true within 30 seconds: $*" >&2
    exit 1
}

cd "$scratch"
tell "A home is a folder. This one comes with a sample template, a sample function and sample data."
hybrid init home > init.log
does ls home
cp "$repository/examples/01-csv-report/templates/csv_report.yaml" home/templates/
cd home

tell "A daemon works in it, in the background."
does hybrid start --detach
first=$(hybrid status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["engine"]["pid"])')

tell "A job is a file. This one asks for a report on samples/orders.csv; its cleaning step shall take three seconds."
cat > ../orders.yaml << 'END'
template: csv_report
params: {source: samples/orders.csv, pause: 3}
labels: {from: demo}
END
show < ../orders.yaml
does cp ../orders.yaml inbox/

is_cleaning() { grep -qs '"type":"step_started".*"step":"clean"' workflows/*/journal.jsonl; }
until_true is_cleaning
workflow=$(basename workflows/*)
tell "It has become workflow $workflow, which is cleaning now."
does hybrid why "$workflow"

tell "We kill the daemon (pid $first) with -9, in the middle of that step."
kill -9 "$first"
is_gone() { ! grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$first/status"; } # dead, though perhaps not yet collected
until_true is_gone

step=$(sed -n 's/.*in process //p' "workflows/$workflow/steps/clean/1/stdout.log")
if kill -0 "$step" 2> /dev/null; then
    tell "The step does not mind: process $step goes on with the cleaning."
else
    tell "The step has ended without a daemon; how it ended waits in a file."
fi
does hybrid status || true

tell "A new daemon reads the journal, finds the step that was under way, and takes over its result."
does hybrid start --detach
does hybrid wait "$workflow" --timeout 60

tell "Everything that happened, from the journal:"
does hybrid tail "$workflow"

tell "What it adds up to:"
does hybrid show "$workflow"

tell "Every step was begun once, and its end committed once:"
for step in profile clean report; do
    begun=$(grep -c "\"type\":\"step_started\".*\"step\":\"$step\"" "workflows/$workflow/journal.jsonl")
    ended=$(grep -c "\"type\":\"step_completed\".*\"step\":\"$step\"" "workflows/$workflow/journal.jsonl")
    printf '    %-8s begun %s time, completed %s time\n' "$step" "$begun" "$ended"
    [ "$begun" = 1 ] && [ "$ended" = 1 ]
done

tell "And the report:"
does hybrid logs "$workflow" report --stream stdout

tell "The daemon ends, and this home is thrown away."
does hybrid stop
