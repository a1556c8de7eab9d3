#!/bin/sh
# Copies what a NAS with pppd needs from files/ to where it belongs. Shows a diff before it changes a file, and asks.
#
#   ./install.sh [OPTION...] [PART...]
#
# Parts (default: pptp):
#   pptp, l2tp, pppoe   the tunnel, with RADIUS, hooks, rules and the agent's unit
#   server              the RADIUS server's unit, when radhold runs on this host too
#
# Options:
#   --dry-run             show what would change, and change nothing
#   --yes                 do not ask
#   --root DIR            install below DIR instead of / (for images and tests)
#   --nas-identifier NAME what the RADIUS servers know this NAS by (default: as it is, else the host's name)
#   --binary FILE         copy this radhold to /usr/local/bin
#
# Run it again whenever you like: it changes only what differs. Files that are yours to edit (their first line says so) are
# left alone once they are there. What is replaced is kept in /var/backups/radhold. Nothing is started, stopped or removed;
# the last lines say what to do next.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
root=/ dry_run='' yes='' nas_identifier='' binary='' parts=''

usage() {
  sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' "$0"
}

fail() {
  echo "install.sh: $*" >&2
  exit "${2:-1}"
}

while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry_run=1 ;;
    --yes) yes=1 ;;
    --root | --nas-identifier | --binary)
      [ $# -gt 1 ] || { echo "install.sh: $1 wants a value" >&2; exit 2; }
      case $1 in
        --root) root=$2 ;;
        --nas-identifier) nas_identifier=$2 ;;
        --binary) binary=$2 ;;
      esac
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    pptp | l2tp | pppoe | server) parts="$parts $1" ;;
    *) echo "install.sh: what is $1? See install.sh --help" >&2; exit 2 ;;
  esac
  shift
done
[ -n "$parts" ] || parts=' pptp'
root=${root%/}
real_root=$(readlink -f "${root:-/}" || echo "$root")
real_root=${real_root%/}
case $nas_identifier in
  *[!A-Za-z0-9._-]*) echo "install.sh: a NAS-Identifier has letters, digits, - _ . only" >&2; exit 2 ;;
esac
[ -z "$binary" ] || [ -f "$binary" ] || fail "$binary is no file"
[ -n "$dry_run" ] || [ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "changing / needs root; try --dry-run"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
changed=0 left=0
backup="$root/var/backups/radhold/$(date +%Y%m%d-%H%M%S)-$$"

# ask QUESTION: whether to go on with one change. Without a person to ask, the answer is no.
ask() {
  [ -z "$yes" ] || return 0
  printf '%s [y/N] ' "$1"
  read -r answer || answer=''
  case $answer in y | Y | yes) return 0 ;; *) return 1 ;; esac
}

# put SOURCE PATH MODE [secret]: makes PATH (from the root) the same as SOURCE, after showing the difference. A secret's content
# is not shown.
put() {
  source=$1 target="$root/$2" mode=$3 hidden=${4:-}
  # A link, as a configuration kept elsewhere has: what it points to is written, and the link stays.
  if [ -L "$target" ]; then
    followed=$(readlink -f "$target" || :)
    case $followed in
      "$real_root"/*) target=$followed ;;
      *)
        echo "== /$2 is a link to $(readlink "$target"), which leads nowhere below ${root:-/}: left as it is"
        left=$((left + 1))
        return 0
        ;;
    esac
  fi
  if [ -e "$target" ] && cmp -s "$source" "$target"; then
    [ "$(stat -c %a "$target")" != "$mode" ] || return 0
    echo "== /$2: mode $(stat -c %a "$target") becomes $mode"
  elif [ -e "$target" ]; then
    echo "== /$2 changes:"
    [ -n "$hidden" ] || diff -u "$target" "$source" || :
  else
    echo "== /$2 is new ($(wc -l <"$source") lines)"
    [ -n "$hidden" ] || diff -u /dev/null "$source" | sed 1,3d || :
  fi
  if [ -n "$dry_run" ]; then
    changed=$((changed + 1))
    return 0
  fi
  if ! ask "Change /$2?"; then
    left=$((left + 1))
    return 0
  fi
  if [ -e "$target" ]; then
    mkdir -p "$backup/$(dirname "$2")"
    chmod 700 "$backup"
    cp -p "$target" "$backup/$2"
  fi
  mkdir -p "$(dirname "$target")"
  # Beside the target and then over it: pppd reads either the old file or the new one, never half.
  install -m "$mode" "$source" "$target.radhold-new"
  mv -f "$target.radhold-new" "$target"
  changed=$((changed + 1))
}

# ours PATH MODE: a file that follows the sources.
ours() {
  put "$here/files/$1" "$1" "$2"
}

# yours PATH MODE: a file to begin with. Once ours is there, it is the operator's.
yours() {
  if [ -e "$root/$1" ] && head -n 1 "$root/$1" | grep -q 'From radhold. Yours to edit'; then
    return 0
  fi
  put "$here/files/$1" "$1" "$2"
}

# made SOURCE PATH MODE: a secret, made once and never changed. From a file, not a pipe: standard input is the person's answers.
made() {
  [ -e "$root/$2" ] || put "$1" "$2" "$3" secret
}

# What every NAS with pppd needs.
nas() {
  ours etc/ppp/radhold.options 644
  for event in ip-pre-up ip-up ip-down ipv6-up ipv6-down; do
    ours "etc/ppp/$event.d/radhold" 755
  done
  ours etc/radiusclient/dictionary 644
  ours etc/radiusclient/port-id-map 644

  # The name stays as it is, unless another one is given.
  conf=etc/radiusclient/radiusclient.conf
  name=$nas_identifier
  [ -n "$name" ] || name=$(sed -n 's/^nas_identifier[ \t]*//p' "$root/$conf" 2>/dev/null || :)
  [ -n "$name" ] || name=$(uname -n)
  sed "s/^nas_identifier .*/nas_identifier $name/" "$here/files/$conf" >"$work/radiusclient.conf"
  put "$work/radiusclient.conf" "$conf" 644

  # One secret, in two places: 40 characters, for pppd cuts at 48. Where one of the two is there, it is that one.
  servers=etc/radiusclient/servers
  pppds=$(awk '$1 == "127.0.0.1" && NF > 1 { print $2; exit }' "$root/$servers" 2>/dev/null || :)
  if [ -s "$root/etc/radhold/front.secret" ]; then
    secret=$(cat "$root/etc/radhold/front.secret")
  elif [ -n "$pppds" ]; then
    secret=$pppds
  else
    secret=$(od -An -N20 -tx1 /dev/urandom | tr -d ' \n')
  fi
  printf '%s\n' "$secret" >"$work/front.secret"
  made "$work/front.secret" etc/radhold/front.secret 640
  if [ ! -e "$root/$servers" ]; then
    printf '%s\n' \
      '# From radhold. Yours to edit. ADDRESS SECRET, the secret in 48 characters at most, a line in 127.' \
      "127.0.0.1 $secret" >"$work/servers"
    made "$work/servers" "$servers" 600
  elif [ -z "$pppds" ]; then
    # Somebody else's, with no line for the front. Theirs stay; awk ends a last line that has no newline.
    { awk 1 "$root/$servers" && echo "127.0.0.1 $secret"; } >"$work/servers"
    echo "== /$servers has no line for 127.0.0.1: one is added"
    put "$work/servers" "$servers" 600 secret
  fi

  yours etc/radhold/agent.toml 640
  yours etc/radhold/nas.nft 644
  ours etc/sysctl.d/60-radhold-nas.conf 644
  ours etc/modules-load.d/radhold-nas.conf 644
  ours etc/systemd/system/radhold-agent.service 644
  ours etc/systemd/system/nftables.service.d/radhold.conf 644
}

ours etc/sysusers.d/radhold.conf 644
case $parts in *pptp* | *l2tp* | *pppoe*) nas ;; esac
for part in $parts; do
  case $part in
    pptp)
      yours etc/pptpd.conf 644
      yours etc/ppp/radhold-pptp.options 644
      ours etc/systemd/system/pptpd.service.d/radhold.conf 644
      ;;
    l2tp)
      yours etc/xl2tpd/xl2tpd.conf 644
      yours etc/ppp/radhold-l2tp.options 644
      ours etc/systemd/system/xl2tpd.service.d/radhold.conf 644
      ;;
    pppoe) yours etc/ppp/radhold-pppoe.options 644 ;;
    server) ours etc/systemd/system/radhold.service 644 ;;
  esac
done
[ -z "$binary" ] || cmp -s "$binary" "$root/usr/local/bin/radhold" || put "$binary" usr/local/bin/radhold 755 binary

if [ -n "$dry_run" ]; then
  echo "== $changed to change; nothing was changed (--dry-run)"
  exit 0
fi
echo "== $changed changed, $left left as they were"
[ ! -d "$backup" ] || echo "== what was there before is in $backup"

# The users own what only they may read. Safe to repeat, so not only after a change.
if [ -z "$root" ]; then
  if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers /etc/sysusers.d/radhold.conf
  fi
  for file in /etc/radhold/agent.toml /etc/radhold/front.secret; do
    if [ -e "$file" ] && getent group radhold-agent >/dev/null; then
      chgrp radhold-agent "$file"
    fi
  done
fi
[ "$changed" -gt 0 ] || exit 0
[ -z "$root" ] || exit 0
echo "== next:"
echo "   systemctl daemon-reload && systemctl restart systemd-modules-load systemd-sysctl"
case $parts in *server*) echo "   systemctl enable --now radhold" ;; esac
case $parts in
  *pptp* | *l2tp* | *pppoe*)
    echo "   edit /etc/radhold/agent.toml: your servers, and their secrets in files beside it"
    echo "   systemctl enable --now radhold-agent"
    ;;
esac
case $parts in *pptp*) echo "   systemctl enable pptpd && systemctl restart pptpd" ;; esac
case $parts in *l2tp*) echo "   systemctl enable xl2tpd && systemctl restart xl2tpd" ;; esac
echo "   radhold doctor"
