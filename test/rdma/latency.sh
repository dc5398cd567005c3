# Round trips of 8 KB frames, ours beside those of the verbs library's own programs, in one boot of the machine:
# bash test/rdma/vm.sh WORK "cd $PWD && . test/rdma/devices.sh && . test/rdma/latency.sh"
bytes=8192
for queue in rc uc; do
  echo "$queue, ibv_${queue}_pingpong:"
  ibv_${queue}_pingpong -d rxe1 -g 1 -s $bytes >/dev/null &
  sleep 1
  ibv_${queue}_pingpong -d rxe0 -g 1 -s $bytes 10.9.0.2 | tail -1
  wait
  echo "$queue, ours (microseconds):"
  node dist/test/rdma/guest/ping.js far $queue $bytes >$TMPDIR/far.log 2>&1 &
  until grep -q listening "$TMPDIR/far.log"; do sleep 0.5; done
  node dist/test/rdma/guest/ping.js near $queue $bytes 6000
  wait
done
