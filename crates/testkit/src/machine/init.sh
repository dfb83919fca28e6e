# Makes the root of a machine and becomes its process 1; see boot.sh.
set -e
folder=$1 rootfs=$2 terminal=$3 name=$4 root=$1/root
# /proc is still the host's here, so this is the number that the host knows this process by. Only a process that
# has become the machine writes it where others look (`pid`).
read -r outside rest </proc/self/stat
mount -t overlay overlay -o "lowerdir=$rootfs,upperdir=$folder/upper,workdir=$folder/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir -p "$root/dev/pts" "$root/dev/shm" "$root/dev/net"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
: >"$root/dev/console"
mount --bind "$terminal" "$root/dev/console"
if [ -e /dev/net/tun ]; then
    : >"$root/dev/net/tun"
    mount --bind /dev/net/tun "$root/dev/net/tun"
fi
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
while IFS='	' read -r host guest; do
    [ -n "$host" ] || continue
    if [ -d "$host" ]; then
        mkdir -p "$root$guest"
    else
        mkdir -p "$root${guest%/*}"
        [ -e "$root$guest" ] || : >"$root$guest"
    fi
    mount --bind "$host" "$root$guest"
    mount -o remount,bind,ro "$root$guest"
done <"$folder/binds"
echo "flotilla-testkit: starting $name"
hostname "$name"
mkdir -p "$root/.host"
cd "$root"
pivot_root . .host
# The last thing that is done with the host in sight.
echo "$outside" >"/.host$folder/pid.new"
mv "/.host$folder/pid.new" "/.host$folder/pid"
umount -l /.host
rmdir /.host
exec env -i container=flotilla TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /sbin/init systemd.unified_cgroup_hierarchy=1 --log-target=console --show-status=1 \
    </dev/null >/dev/console 2>&1
