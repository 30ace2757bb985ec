#!/usr/bin/env bash
# Installs qlc on a Debian machine with systemd: program, settings, units, rules of logrotate, documents. Run it again at
# any time, for an update too: what is up to date is left alone, and settings that were edited are never replaced.
#
#   install.sh [--dry-run] [--root DIR] [--binary PATH] [--scheduler timer|cron|none] [--collector] [--prune]
#
#   --dry-run          say what would be done, and do nothing
#   --root DIR         install below DIR, for an image or a look; no users, no systemctl
#   --binary PATH      the program [default: target/release/qlc of the repository]
#   --scheduler WHICH  what starts the nightly run: the timer, a line of cron, or nobody [default: timer]
#   --collector        start quantlab-collector.service now and at every boot
#   --prune            let quantlab-prune.timer remove spool files that are proven to be in the archive
set -euo pipefail
umask 022

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dry=0 root='' binary=$here/../target/release/qlc scheduler=timer collector=0 prune=0 changed=0

die() {
    echo "install.sh: $*" >&2
    exit 2
}

while [[ $# -gt 0 ]]; do
    case $1 in
        --dry-run) dry=1 ;;
        --collector) collector=1 ;;
        --prune) prune=1 ;;
        --root | --binary | --scheduler)
            [[ $# -ge 2 ]] || die "$1 needs a value"
            case $1 in
                --root) root=${2%/} ;;
                --binary) binary=$2 ;;
                --scheduler) scheduler=$2 ;;
            esac
            shift
            ;;
        -h | --help)
            sed -n '2,/^set -euo/{/^set/d;s/^# \{0,1\}//p}' "$0"
            exit 0
            ;;
        *) die "$1 is not known; see install.sh --help" ;;
    esac
    shift
done
[[ $scheduler =~ ^(timer|cron|none)$ ]] || die "--scheduler is timer, cron or none, not $scheduler"
[[ -x $binary ]] || die "$binary is not there: build it (cargo build --release) or name it with --binary"
[[ $dry = 1 || -n $root || $(id -u) = 0 ]] || die "run it as root, or with --root DIR or --dry-run"

# act COMMAND…: does it, or says it.
act() {
    changed=1
    printf '%s\n' "$*"
    [[ $dry = 1 ]] || "$@"
}


# folder MODE OWNER PATH: OWNER is a user and its group, or - for root.
folder() {
    local to=$root$3 owner=()
    [[ $2 = - || -n $root ]] || owner=(-o "$2" -g "$2")
    [[ -d $to ]] || act install -d -m "$1" "${owner[@]}" "$to"
}

# file MODE FROM TO: replaced when it differs.
file() {
    local to=$root$3
    cmp -s "$2" "$to" || act install -D -m "$1" "$2" "$to"
}

# settings MODE FROM TO: put there once, and then the operator's.
settings() {
    local to=$root$3
    if [[ ! -e $to ]]; then
        act install -D -m "$1" "$2" "$to"
    elif ! cmp -s "$2" "$to"; then
        echo "kept: $to (compare with $2)"
    fi
}

# gone PATH: what another scheduler left.
gone() {
    [[ ! -e $root$1 ]] || act rm -f "$root$1"
}

if [[ -z $root ]] && ! getent passwd quantlab >/dev/null; then
    act useradd --system --user-group --home-dir /opt/quantlab --no-create-home --shell /usr/sbin/nologin quantlab
fi
folder 755 - /opt/quantlab
folder 755 quantlab /opt/quantlab/spool
folder 755 quantlab /opt/quantlab/archive
folder 755 quantlab /var/lib/quantlab
folder 755 quantlab /var/lib/quantlab/metrics

renewed=0
[[ ! -e $root/usr/local/bin/qlc ]] || cmp -s "$binary" "$root/usr/local/bin/qlc" || renewed=1
file 755 "$binary" /usr/local/bin/qlc
file 755 "$here/backfill.sh" /usr/local/bin/quantlab-backfill
settings 644 "$here/qlc.toml" /etc/quantlab/qlc.toml
settings 600 "$here/qlc.env" /etc/quantlab/qlc.env
settings 600 "$here/upload.env" /etc/quantlab/upload.env
for document in installing runbook; do
    file 644 "$here/../docs/$document.md" "/usr/local/share/doc/quantlab/$document.md"
done
for unit in "$here"/systemd/*; do
    file 644 "$unit" "/etc/systemd/system/${unit##*/}"
done

if [[ $scheduler = cron ]]; then
    file 644 "$here/quantlab-compact.cron" /etc/cron.d/quantlab-compact
    file 644 "$here/quantlab.logrotate" /etc/logrotate.d/quantlab
    if [[ ! -e $root/var/log/quantlab-compact.log ]]; then
        [[ -d $root/var/log ]] || act install -d -m 755 "$root/var/log"
        if [[ -n $root ]]; then
            act install -m 640 /dev/null "$root/var/log/quantlab-compact.log"
        else
            act install -o quantlab -g adm -m 640 /dev/null /var/log/quantlab-compact.log
        fi
    fi
else
    gone /etc/cron.d/quantlab-compact
fi

# enabled UNIT WANTED: whether it starts by itself.
enabled() {
    local state
    [[ -z $root ]] || return 0
    state=$(systemctl is-enabled "$1" 2>/dev/null) || true
    if [[ $2 = 1 && $state != enabled ]]; then
        act systemctl enable --now "$1"
    elif [[ $2 = 0 && $state = enabled ]]; then
        act systemctl disable --now "$1"
    fi
}

if [[ -z $root && $changed = 1 ]] && [[ -d /run/systemd/system ]]; then
    act systemctl daemon-reload
fi
if [[ -n $root || -d /run/systemd/system ]]; then
    # A collector that runs goes on with the old program until it is started anew; a moment, and its journal bridges it.
    [[ $renewed = 0 || -n $root ]] || act systemctl try-restart quantlab-collector.service
    enabled quantlab-compact.timer "$([[ $scheduler = timer ]] && echo 1 || echo 0)"
    enabled quantlab-verify.timer "$([[ $scheduler = none ]] && echo 0 || echo 1)"
    # Only ever switched on here: who switched them on before is not to lose them by an update.
    [[ $prune = 0 ]] || enabled quantlab-prune.timer 1
    [[ $collector = 0 ]] || enabled quantlab-collector.service 1
elif [[ $scheduler != cron ]]; then
    echo "systemd does not run here: nothing was enabled; use --scheduler cron, or enable the timers yourself"
fi
[[ $changed = 1 ]] || echo "everything is as it should be"
