# Round trips of 8 KB and of 1 MB, ours beside those of the verbs library's own programs, in one boot of the machine:
# bash test/rdma/vm.sh WORK "cd $PWD && . test/rdma/devices.sh && . test/rdma/latency.sh"
compare() {
  queue=$1 bytes=$2 times=$3
  echo "$queue, $bytes bytes, ibv_${queue}_pingpong:"
  ibv_${queue}_pingpong -d rxe1 -g 1 -s $bytes -n $((times / 4)) >/dev/null &
  sleep 1
  ibv_${queue}_pingpong -d rxe0 -g 1 -s $bytes -n $((times / 4)) 10.9.0.2 | tail -1
  wait
  echo "$queue, $bytes bytes, ours (microseconds):"
  node dist/test/rdma/guest/ping.js far $queue $bytes >$TMPDIR/far.log 2>&1 &
  until grep -q listening "$TMPDIR/far.log"; do sleep 0.5; done
  node dist/test/rdma/guest/ping.js near $queue $bytes $times
  wait
}
for queue in rc uc; do
  compare $queue 8192 6000
  compare $queue 1048576 80
done
