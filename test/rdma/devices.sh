# Makes two network devices that are connected by a cable, with an RDMA device on each. Both are in this one network
# namespace (rxe knows no other), so routing must be kept from taking the short way between two local addresses.
ip link set lo up
ip link add v0 type veth peer name v1
ip addr add 10.9.0.1/24 dev v0
ip addr add 10.9.0.2/24 dev v1
for device in all v0 v1; do
  echo 1 >/proc/sys/net/ipv4/conf/$device/accept_local
  echo 0 >/proc/sys/net/ipv4/conf/$device/rp_filter
done
ip link set v0 up
ip link set v1 up
mac() { cat /sys/class/net/$1/address; }
ip neigh replace 10.9.0.2 lladdr "$(mac v1)" dev v0 nud permanent
ip neigh replace 10.9.0.1 lladdr "$(mac v0)" dev v1 nud permanent
ip route add 10.9.0.2 dev v0 src 10.9.0.1 table 101
ip route add 10.9.0.1 dev v1 src 10.9.0.2 table 102
ip rule add pref 10 oif v0 to 10.9.0.2 lookup 101
ip rule add pref 11 oif v1 to 10.9.0.1 lookup 102
ip rule add pref 100 lookup local
ip rule del pref 0
rdma link add rxe0 type rxe netdev v0
rdma link add rxe1 type rxe netdev v1
