# A balancer, an honest client, and somebody who begins connections from addresses that are not there and never ends them.
# Says how the honest client fared and what it cost, as NAME=NUMBER.
#
# sh half_open.sh DIRECTORY MAINSTAY, in fresh network, mount and PID namespaces
set -eu
directory=$1 mainstay=$2 here=$(dirname "$0")
mount -t tmpfs none /run
mkdir -p /run/netns
ip link set lo up
for name in client flooder; do
    ip netns add $name
    ip netns exec $name ip link set lo up
done
ip link add c0 type veth peer name c1 netns client
ip link add f0 type veth peer name f1 netns flooder
ip addr add 10.1.0.1/24 dev c0
ip addr add 10.2.0.1/24 dev f0
ip link set c0 up
ip link set f0 up
ip netns exec client sh -c 'ip addr add 10.1.0.2/24 dev c1; ip link set c1 up; ip route add default via 10.1.0.1'
ip netns exec flooder sh -c 'ip addr add 10.2.0.2/24 dev f1; ip link set f1 up; ip route add default via 10.2.0.1'
# Answers to addresses that are not there go to the flooder, who says nothing to them, not even that nobody is there.
ip route add 10.77.0.0/16 via 10.2.0.2
for filter in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >"$filter"; done

cat >"$directory/cfg" <<EOF
defaults
 mode tcp
 timeout connect 5s
 timeout client 20s
 timeout server 20s
listen l
 bind 10.1.0.1:6443
 server s 127.0.0.1:6444
EOF
socat TCP-LISTEN:6444,fork,reuseaddr,backlog=128 SYSTEM:'echo hello' &
"$mainstay" run --haproxy-cfg "$directory/cfg" --socket "$directory/admin" --no-peer-link >&2 &
daemon=$!

# How many of $1 requests were answered, and the milliseconds of the slowest one.
honest() {
    ip netns exec client python3 "$here/half_open.py" ask "$1"
}
until [ "$(honest 1 | head -n 1)" = answered=1 ]; do sleep 0.05; done
memory() { awk '/^VmRSS:/ { print $2 }' /proc/$daemon/status; }
descriptors() { ls /proc/$daemon/fd | wc -l; }
cookies() { awk '/^TcpExt:/ { if (n++) print $2 }' /proc/net/netstat; }
half_open() { awk '$4 == "03"' /proc/net/tcp | wc -l; }
before=$(memory) opened=$(descriptors)
ip netns exec flooder python3 "$here/half_open.py" flood &
flooder=$!
# The flood is on once the queue of half-open connections is full.
until [ "$(cookies)" -gt 0 ]; do sleep 0.05; done
honest 50
echo "half_open=$(half_open)"
echo "memory_grown_kb=$(($(memory) - before))"
echo "descriptors_grown=$(($(descriptors) - opened))"
kill $flooder
honest 10 | sed 's/^/after_/'
kill $daemon
wait $daemon
