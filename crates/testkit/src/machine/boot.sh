# Runs a machine: systemd as process 1 in namespaces of its own over an overlay of a root file system.
# It stays for as long as the machine runs, and lets it start again where it restarts by itself.
#
#   boot.sh FOLDER ROOTFS CGROUP NETWORK TERMINAL NAME
#
# FOLDER has `upper` and `work` (the disk), `root` (empty), `console.log`, `binds` (lines of host and guest paths).
set -e
folder=$1 rootfs=$2 cgroup=$3 network=$4 terminal=$5 name=$6
mkdir -p "$cgroup"
echo $$ >"$cgroup/cgroup.procs"
while :; do
    code=0
    # Not by `ip netns exec`, which hides the control groups behind a new /sys.
    nsenter --net="/run/netns/$network" \
        unshare --mount --pid --uts --ipc --cgroup --fork --kill-child --propagation private \
        sh -c "$BOOT" init "$folder" "$rootfs" "$terminal" "$name" </dev/null >>"$folder/console.log" 2>&1 || code=$?
    rm -f "$folder/pid"
    # Process 1 of a process namespace that asks for a restart is killed by SIGHUP, one that asks to be switched off
    # by SIGINT.
    [ $code = 129 ] || break
done
exit $code
