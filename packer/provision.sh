#!/bin/sh
# Turn a base machine image into one that runs a release: as root, while baking.
# IMAGE is the id of the image to run, IMAGES all ids; PROCESSES and LOG_DRIVER say how it runs.
set -eu
from=/var/tmp/fearless

cloud-init status --wait >/dev/null 2>&1 || true

if command -v dockerd >/dev/null && command -v curl >/dev/null; then
  echo "docker and curl are installed"
elif command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  apt-get install -qy --no-install-recommends apparmor curl docker.io iptables
  apt-get clean
elif command -v dnf >/dev/null; then
  dnf install -qy docker
  dnf clean all
else
  echo "provision.sh: neither apt-get nor dnf: do not know how to install docker here" >&2
  exit 1
fi
systemctl enable --now docker

for archive in "$from"/images/*.tar; do
  docker load --quiet --input "$archive"
done
for image in $IMAGES; do
  docker image inspect "$image" >/dev/null || {
    echo "provision.sh: image $image is not in the archives, which have:" >&2
    docker image ls --all --no-trunc >&2
    exit 1
  }
done

install -d -m 0755 /etc/fearless /usr/local/lib/fearless
printf 'IMAGE=%s\nLOG_DRIVER=%s\n' "$IMAGE" "$LOG_DRIVER" >/etc/fearless/image.env
install -m 0755 "$from/machine/run" "$from/machine/boot-test" /usr/local/lib/fearless/
install -m 0644 "$from"/machine/*.service /etc/systemd/system/
systemctl daemon-reload
for process in $PROCESSES; do
  systemctl enable "fearless@$process"
done
systemctl enable fearless-boot-test

# What was baked is what runs: nothing is installed or updated when the machine starts.
for unit in apt-daily.timer apt-daily-upgrade.timer dnf-makecache.timer unattended-upgrades.service; do
  ln -sf /dev/null "/etc/systemd/system/$unit"
done
if [ -d /etc/cloud ]; then
  install -d /etc/cloud/cloud.cfg.d
  printf 'package_update: false\npackage_upgrade: false\nrepo_upgrade: none\n' \
    >/etc/cloud/cloud.cfg.d/99-fearless.cfg
fi

# Nobody logs in.
for unit in ssh.service ssh.socket sshd.service sshd.socket; do
  systemctl disable "$unit" >/dev/null 2>&1 || true
  ln -sf /dev/null "/etc/systemd/system/$unit"
done
find /root /home -path '*/.ssh/authorized_keys' -delete
rm -rf /etc/ssh/ssh_host_* "$from"

cloud-init clean --logs >/dev/null 2>&1 || true
: >/etc/machine-id
