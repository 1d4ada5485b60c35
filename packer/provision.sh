#!/bin/sh
# Turn a base machine image into one that runs a release: as root, while baking, with IMAGE set.
set -eu

cloud-init status --wait >/dev/null 2>&1 || true

if command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  apt-get install -qy --no-install-recommends apparmor docker.io iptables
  apt-get clean
elif command -v dnf >/dev/null; then
  dnf install -qy docker
  dnf clean all
else
  echo "provision.sh: neither apt-get nor dnf: do not know how to install docker here" >&2
  exit 1
fi
systemctl enable --now docker

docker load --input /tmp/images.tar
docker image inspect "$IMAGE" >/dev/null || {
  echo "provision.sh: image $IMAGE is not in the archive, which has:" >&2
  docker image ls --all --no-trunc >&2
  exit 1
}

install -d -m 0755 /etc/fearless
echo "IMAGE=$IMAGE" >/etc/fearless/image.env
install -m 0644 /tmp/fearless-web.service /etc/systemd/system/fearless-web.service
systemctl daemon-reload
systemctl enable fearless-web

for unit in ssh.service ssh.socket sshd.service sshd.socket; do
  systemctl disable "$unit" >/dev/null 2>&1 || true
  ln -sf /dev/null "/etc/systemd/system/$unit"
done
find /root /home -path '*/.ssh/authorized_keys' -delete
rm -f /etc/ssh/ssh_host_* /tmp/images.tar /tmp/fearless-web.service

cloud-init clean --logs >/dev/null 2>&1 || true
: >/etc/machine-id
