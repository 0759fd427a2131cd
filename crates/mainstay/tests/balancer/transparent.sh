# A client, a balancer and a server, each in a network of its own. Says what the server sees of the client: its address,
# and whether the port is the client's.
#
# sh transparent.sh DIRECTORY USESRC BALANCER, in fresh network and mount namespaces
set -eu
directory=$1 shown=$2 balancer=$3
mount -t tmpfs none /run
mkdir -p /run/netns
ip link set lo up
for name in client server; do
    ip netns add $name
    ip netns exec $name ip link set lo up
done
ip link add c0 type veth peer name c1 netns client
ip link add s0 type veth peer name s1 netns server
ip addr add 10.1.0.1/24 dev c0
ip addr add 10.2.0.1/24 dev s0
ip link set c0 up
ip link set s0 up
ip netns exec client sh -c 'ip addr add 10.1.0.2/24 dev c1; ip link set c1 up'
ip netns exec server sh -c 'ip addr add 10.2.0.2/24 dev s1; ip link set s1 up; ip route add default via 10.2.0.1'
for filter in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >"$filter"; done
# What the server answers is for the balancer, whatever address it is sent to.
ip rule add iif s0 lookup 100
ip route add local default dev lo table 100

cat >"$directory/cfg" <<EOF
defaults
 mode tcp
 timeout connect 5s
 timeout client 20s
 timeout server 20s
listen l
 bind 10.1.0.1:6443
 source 0.0.0.0 usesrc $shown
 server s 10.2.0.2:6443
EOF
ip netns exec server socat TCP-LISTEN:6443,fork,reuseaddr \
    SYSTEM:'test $SOCAT_PEERPORT = 40001 && same=true; echo $SOCAT_PEERADDR ${same-false}' &
server=$!
case $balancer in
haproxy) haproxy -db -f "$directory/cfg" >&2 & ;;
*) "$balancer" run --haproxy-cfg "$directory/cfg" --socket "$directory/admin" --no-peer-link >&2 & ;;
esac
daemon=$!
seen=
for _ in $(seq 100); do
    seen=$(ip netns exec client timeout 5 socat -u TCP:10.1.0.1:6443,sourceport=40001,reuseaddr - 2>/dev/null) || true
    [ -z "$seen" ] || break
    sleep 0.1
done
kill $daemon $server
wait || true
echo "$seen"
