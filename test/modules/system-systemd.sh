#!/bin/sh
# system-systemd.sh UNITS STORE VAR DAEMON GROUP: a system's systemd as process 1 of namespaces of its
# own, in the control group GROUP, with the files in UNITS, STORE as /nix and VAR as /var/lib. It ends
# when it is killed, and leaves the group.
set -e
units=$1 store=$2 var=$3 daemon=$4 group=/sys/fs/cgroup/$5
umount -R /sys/fs/cgroup 2>/dev/null || :
mount -t cgroup2 none /sys/fs/cgroup
mkdir "$group"
echo $$ >"$group/cgroup.procs"
mount -t tmpfs none /run
mkdir -p /run/systemd/system /run/none /run/cache
mount --bind /run/none /etc/systemd/system
mount --bind "$store" /nix
mount --bind "$var" /var/lib
mount --bind /run/cache /var/cache
cp "$units"/handpick.toml /run/
cp "$units"/handpick.path "$units"/handpick.service /run/systemd/system/
cat >/run/systemd/system/nix-daemon.service <<END
[Unit]
DefaultDependencies=no
[Service]
ExecStart=$daemon
Environment="NIX_CONFIG=build-users-group ="
END
cat >/run/systemd/system/test.target <<END
[Unit]
DefaultDependencies=no
Wants=nix-daemon.service handpick.path
END
# Credentials are mounted elsewhere and have to get here.
mount --make-rshared /
exec env container=handpick /lib/systemd/systemd --system --unit=test.target --log-level=notice --log-target=console --show-status=no
