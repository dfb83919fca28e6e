#!/bin/sh
# Builds and caches the root file system that test machines boot from, and prints its path.
#
#   rootfs.sh          print the path, building it first where it is missing (about 40 s, once)
#   rootfs.sh --path   print the path it has or would have, and build nothing
#
# It is a minimal Debian with systemd, Nix and python3. Nobody writes to it: machines use it as the lower
# layer of an overlay. It is named after this script's own content, so a change here makes a new one.
# Callers at the same time wait for one build; a build that was cut off leaves nothing that looks finished.
#
#   FLT_TEST_CACHE   where it is kept, default /var/cache/flotilla-testbed
#   FLT_TEST_SUITE   the Debian suite, default trixie
#   FLT_TEST_MIRROR  the Debian mirror, default: what this machine's own apt uses, else deb.debian.org
set -eu
export LC_ALL=C DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/sbin:/sbin"

cache=${FLT_TEST_CACHE:-/var/cache/flotilla-testbed}
suite=${FLT_TEST_SUITE:-trixie}
packages="systemd-sysv dbus iproute2 nix-bin python3 ca-certificates procps"
# No build may hang a test run for ever: seconds.
limit=900

root=$cache/rootfs-$suite-$(sha256sum "$0" | cut -c1-12)
if [ "${1:-}" = --path ] || [ -e "$root/.complete" ]; then
    [ ! -e "$root/.complete" ] || touch "$root.used"
    echo "$root"
    exit 0
fi

for tool in debootstrap flock chroot timeout; do
    command -v "$tool" >/dev/null || {
        echo "rootfs.sh: $tool is missing; apt-get install -y debootstrap util-linux coreutils" >&2
        exit 1
    }
done
[ "$(id -u)" = 0 ] || { echo "rootfs.sh: only root can build a root file system" >&2; exit 1; }

mirror=${FLT_TEST_MIRROR:-}
if [ -z "$mirror" ]; then
    # A machine with a mirror of its own near by has it in its apt sources, in one of two formats.
    mirror=$(cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null |
        sed -n -e 's/^URIs: *\([^ ]*debian\)\/* *$/\1/p' -e 's/^deb  *\(\[[^]]*\] *\)\{0,1\}\([^ ]*debian\)\/* .*/\2/p' |
        head -n 1)
fi
mirror=${mirror:-http://deb.debian.org/debian}

mkdir -p "$cache"
exec 9>"$cache/rootfs.lock"
flock 9
if [ -e "$root/.complete" ]; then
    echo "$root"
    exit 0
fi

build=$cache/.building-$$
# The lock is ours, so whatever is half built has no builder any more.
rm -rf "$cache"/.building-*
trap 'rm -rf "$build"' EXIT
trap 'exit 1' HUP INT TERM
{
    echo "building $root from $mirror"
    timeout "$limit" debootstrap --variant=minbase "$suite" "$build" "$mirror"
    # apt in there gets to the mirror the way this machine does.
    for part in /etc/apt/apt.conf.d/*proxy* /etc/apt/apt.conf; do
        [ ! -f "$part" ] || cp "$part" "$build/etc/apt/apt.conf.d/"
    done
    printf '#!/bin/sh\nexit 101\n' >"$build/usr/sbin/policy-rc.d"
    chmod 755 "$build/usr/sbin/policy-rc.d"
    # Not by debootstrap's --include: it cannot resolve nix-bin's virtual dependency and fails after minutes.
    # shellcheck disable=SC2086
    timeout "$limit" chroot "$build" apt-get -o Acquire::Languages=none install -y --no-install-recommends $packages
    rm -rf "$build/usr/sbin/policy-rc.d" "$build"/var/lib/apt/lists/* "$build"/var/cache/apt/*.bin \
        "$build"/var/cache/apt/archives/*.deb "$build"/usr/share/doc/* "$build"/usr/share/man/* \
        "$build"/usr/share/locale/* "$build"/etc/apt/apt.conf.d/*proxy*

    # Every machine makes its own identity at its first boot.
    : >"$build/etc/machine-id"
    rm -f "$build/var/lib/dbus/machine-id" "$build/etc/hostname"
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$build/etc/hosts"
    # Units that want hardware, modules, a login or a network manager only slow a test machine down, or fail.
    for unit in systemd-modules-load.service getty@tty1.service console-getty.service getty.target systemd-networkd.service \
        systemd-networkd-wait-online.service systemd-resolved.service systemd-timesyncd.service \
        apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
        systemd-tmpfiles-clean.timer e2scrub_reap.service; do
        ln -sf /dev/null "$build/etc/systemd/system/$unit"
    done
    ln -sf /usr/lib/systemd/system/multi-user.target "$build/etc/systemd/system/default.target"
    # Root alone, without a daemon and without its build users. A test replaces this file where it wants more.
    mkdir -p "$build/etc/nix"
    printf 'build-users-group =\nsandbox = false\nsubstituters =\nexperimental-features = nix-command flakes\n' \
        >"$build/etc/nix/nix.conf"
    rm -rf "$build/etc/systemd/system/multi-user.target.wants/nix-daemon.service" \
        "$build/etc/systemd/system/sockets.target.wants/nix-daemon.socket"
    touch "$build/.complete" "$root.used"
    mv "$build" "$root"
    # Those of earlier versions of this script, unless somebody still works with that version.
    find "$cache" -maxdepth 1 -name 'rootfs-*.used' -mtime +14 | while read -r used; do
        rm -rf "${used%.used}" "$used"
    done
} >&2
echo "$root"
