#!/bin/sh
# Does what NixOS' own program promises, in its order and with its exit statuses, on plain Debian:
# 0 done, 1 usage, check or boot loader, 2 activation script, 4 units, 11 lock held, 100 reboot needed.
set -u
case "${1:-}" in
  switch | boot | test | check) ;;
  *) echo "usage: $0 switch|boot|test|check" >&2; exit 1 ;;
esac
[ -e /etc/NIXOS ] || { echo "this is not a NixOS machine" >&2; exit 1; }
mkdir -p /run/nixos
exec 9>>/run/nixos/switch-to-configuration.lock
flock -n 9 || { echo "the lock is held" >&2; exit 11; }
# The unknown, for those who have to cope with it.
[ "$SWITCH_EXIT" = 0 ] || [ "$1" = boot ] || exit "$SWITCH_EXIT"

if [ "${NIXOS_NO_CHECK:-}" != 1 ] && [ "$CHECK_EXIT" != 0 ]; then
  echo "a check before the switch failed" >&2
  exit 1
fi
[ "$1" = check ] && exit 0
case "$1" in
  switch | boot) "$BOOT_LOADER" "$TOPLEVEL" || { echo "the boot loader was not installed" >&2; exit 1; } ;;
esac
[ "$1" = boot ] && exit 0

old=/run/current-system
if [ "$(cat $old/init-interface-version 2>/dev/null)" != "$(cat "$TOPLEVEL/init-interface-version")" ]; then
  echo "the init of the running system cannot take over" >&2
  exit 100
fi
listed() {
  for unit in "$1"/etc/systemd/system/*.service; do
    [ -e "$unit" ] && echo "${unit##*/} $(readlink -f "$unit")"
  done
}
changed=$({ listed "$old"; listed "$TOPLEVEL"; } | sort | uniq -u | cut -d' ' -f1 | sort -u)
booted=
[ -d /run/systemd/system ] && booted=1
status=0

[ -n "$changed" ] && echo "stopping: " $changed >&2
[ -n "$booted" ] && [ -n "$changed" ] && systemctl stop $changed
echo "activating" >&2
"$TOPLEVEL/activate" "$TOPLEVEL" 9>&- || { echo "the activation script failed" >&2; status=2; }
if [ -n "$booted" ]; then
  for unit in $changed; do
    rm -f "/etc/systemd/system/$unit"
    [ -e "$TOPLEVEL/etc/systemd/system/$unit" ] && ln -s "/etc/static/systemd/system/$unit" "/etc/systemd/system/$unit"
  done
  systemctl daemon-reload
  for unit in $changed; do
    [ -e "$TOPLEVEL/etc/systemd/system/$unit" ] || continue
    systemctl start "$unit" || { echo "failed: $unit" >&2; [ $status = 0 ] && status=4; }
  done
else
  echo "starting: " $changed >&2
  # Without systemd a unit is broken if it says so.
  if grep -qs '^ExecStartPre=/bin/false' "$TOPLEVEL"/etc/systemd/system/*.service && [ $status = 0 ]; then status=4; fi
fi
exit $status
