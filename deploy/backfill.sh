#!/usr/bin/env bash
# Compacts the days from START to END, one after another and oldest first, by calling qlc. It can be stopped and started
# again at any time: a day that is up to date is only looked at. Days are written 20260101 or 2026-01-01.
#
#   backfill.sh START END [ARGUMENT…]         backfill.sh 20260101 20260131 --exchange binance
#
#   QLC=PATH          the program, if it is not the qlc in PATH
#   QLC_VERIFY=0      do not verify each day after its compaction
#
# Arguments go to every "qlc compact" (among them --dry-run). Settings come from QLC_CONFIG and the environment, as always.
# A day without data is passed over. A day that fails does not stop the others. Ends with 0 if every day did, else with the
# exit code of the first that did not; 2 at once where settings or arguments are wrong, 130 after Ctrl-C.
set -euo pipefail

usage() {
    sed -n '2,/^set -euo/{/^set/d;s/^# \{0,1\}//p}' "$0" >&2
    exit 2
}

day_of() {
    [[ $1 =~ ^[0-9]{8}$ || $1 =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] && date -u -d "$1" +%Y%m%d 2>/dev/null
}

[[ $# -ge 2 ]] || usage
start=$(day_of "$1") || usage
end=$(day_of "$2") || usage
shift 2
qlc=${QLC:-qlc}
dry=0
for argument in "$@"; do
    [[ $argument != --dry-run ]] || dry=1
done
[[ $start -le $end ]] || { echo "$start is after $end" >&2; exit 2; }

worst=0
trap 'exit 130' INT TERM
for ((day = start; day <= end; day = $(date -u -d "$day + 1 day" +%Y%m%d))); do
    echo "== $day"
    code=0
    "$qlc" compact --mode backfill --start "$day" --end "$day" "$@" || code=$?
    if [[ ($code = 0 || $code = 3) && $dry = 0 && ${QLC_VERIFY:-1} = 1 ]]; then
        checked=0
        "$qlc" verify --quick --date "$day" || checked=$?
        if [[ $checked = 2 ]]; then
            # The settings are right, as the compaction shows: the archive has nothing of that day.
            echo "== $day has no data"
        elif [[ $checked != 0 ]]; then
            code=$checked
        fi
    fi
    if [[ $code = 2 ]]; then
        exit 2
    fi
    if [[ $code != 0 ]]; then
        echo "== $day ended with exit code $code" >&2
        [[ $worst != 0 ]] || worst=$code
    fi
done
exit "$worst"
