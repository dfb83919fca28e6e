#!/bin/sh
# forky-root.sh: makes, once, a small root file system with a recent Nix (Debian's next release), and prints its path.
#
# The result is kept under ${FLT_TEST_CACHE:-/var/cache/flotilla-testbed}/forky and never changed afterwards: tests lay an
# overlay over it. Several callers may run at once: one builds, the others wait. Needs root, debootstrap and a Debian mirror.
set -eu

cache=${FLT_TEST_CACHE:-/var/cache/flotilla-testbed}
mirror=${FLT_TEST_MIRROR:-http://deb.debian.org/debian}
done=$cache/forky
mkdir -p "$cache"

exec 9>"$cache/forky.lock"
flock -w 900 9 || { echo "forky-root: another build holds $cache/forky.lock for 15 minutes" >&2; exit 1; }
if [ -e "$done/usr/bin/nix-store" ] && [ -e "$done/.complete" ]; then
  echo "$done"
  exit 0
fi
command -v debootstrap >/dev/null || { echo "forky-root: debootstrap is missing (apt-get install debootstrap)" >&2; exit 1; }

rm -rf "$cache"/forky.new.* "$done"
new=$(mktemp -d "$cache/forky.new.XXXXXX")
trap 'rm -rf "$new"' EXIT
# An older debootstrap has no script named `forky`; the one for sid does the same.
debootstrap --variant=minbase forky "$new" "$mirror" sid >"$cache/forky.log" 2>&1 ||
  { tail -5 "$cache/forky.log" >&2; exit 1; }

# nix-bin comes afterwards (its virtual dependencies defeat --include), in an own mount namespace with a real root, since
# maintainer scripts want /proc. The archive's signatures are checked; only the age of its Release file is not, because a
# mirror may carry an expired one.
unshare -m --propagation private sh -eu -c '
  mount --rbind "$1" "$1"; cd "$1"; mkdir -p .old; pivot_root . .old
  mount -t proc proc /proc; mount --rbind /.old/dev /dev
  cp /.old/etc/resolv.conf /etc/resolv.conf 2>/dev/null || :
  if [ -d /.old/etc/apt/apt.conf.d ]; then cp /.old/etc/apt/apt.conf.d/*proxy* /etc/apt/apt.conf.d/ 2>/dev/null || :; fi
  umount -l /.old; rmdir /.old
  export DEBIAN_FRONTEND=noninteractive
  printf "#!/bin/sh\nexit 101\n" > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d
  valid="-o Acquire::Check-Valid-Until=false"
  apt-get $valid -q update
  apt-get $valid -q install -y --no-install-recommends nix-bin zstd perl-base
  apt-get clean
  mkdir -p /nix /testbed
' sh "$new" >>"$cache/forky.log" 2>&1 </dev/null || { tail -5 "$cache/forky.log" >&2; exit 1; }
rm -rf "$new"/var/lib/apt/lists/*
: >"$new/.complete"
chmod 755 "$new"
mv "$new" "$done"
trap - EXIT
echo "$done"
