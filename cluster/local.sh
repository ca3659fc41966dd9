#!/usr/bin/env bash
# A Ray cluster of one head and several workers on one machine: separate `ray start` processes, each node with an
# address, a temporary folder and ports of its own, token authentication on, the dashboard on the loopback address.
#
#   local.sh start FOLDER [--workers N] [--cpus N] [--gpus N] [--dashboard-port PORT]
#   local.sh worker FOLDER NAME [ray start options]   one more worker, or one that died, again
#   local.sh head FOLDER [ray start options]          the head again at its old ports (Redis keeps its state)
#   local.sh kill FOLDER NAME                         kill -9 of every process of one node: head, w1, w2, …
#   local.sh stop FOLDER
#
# FOLDER is made, readable by you alone, and keeps: token, cluster.env (source it: the address and the token's path),
# and a folder for each node. GPUs are logical: a number that Ray counts with; where torch sees none, what gets one is
# trained on the CPU. `ray stop` is never called, because it stops every Ray on the machine; a node's processes are
# found by the folder of its session, which only they name.
set -euo pipefail
umask 077

say() { echo "local.sh: $*" >&2; }
die() { say "$@"; exit 2; }

free_ports() { # N: that many ports which nobody listens on now
  python3 - "$1" <<'PYTHON'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for one in sockets:
    one.bind(("", 0))
print(*(one.getsockname()[1] for one in sockets))
PYTHON
}

pids_of() { # NAME: the processes of a node: those whose arguments name its session's folder, and their children
  { grep -lzF -e "$folder/$1/session_" $([ "$1" != head ] || echo "-e--address=127.0.0.2:$GCS_PORT") \
      -- /proc/[0-9]*/cmdline 2>/dev/null || true; } | cut -d/ -f3 |
    awk 'FILENAME == "-" { found[$1]; next } { parent[$1] = $2 }
      END { for (pid in parent) for (up = pid; up > 1; up = parent[up]) if (up in found) { print pid; break } }' \
      - <(ps -eo pid=,ppid=)
}

end() { # SIGNAL NAME
  local pids; pids=$(pids_of "$2")
  # shellcheck disable=SC2086  # one word each
  [ -z "$pids" ] || kill "-$1" $pids 2>/dev/null || true
}

start_node() { # NAME, ray start options; takes the first of $ports, or free ones
  local name=$1 agent grpc metrics environment; shift
  read -r agent grpc metrics environment _ <<<"${ports:-$(free_ports 4)}"
  mkdir -p "$folder/$name"
  ray start "$@" --temp-dir="$folder/$name" --disable-usage-stats --min-worker-port 0 --max-worker-port 0 \
    --dashboard-agent-listen-port "$agent" --dashboard-agent-grpc-port "$grpc" --metrics-export-port "$metrics" \
    --runtime-env-agent-port "$environment" >"$folder/$name/start.log" 2>&1 </dev/null \
    || { tail -n 5 "$folder/$name/start.log" >&2; die "node $name did not start: see $folder/$name/start.log"; }
}

start_head() { # ray start options
  # No CPUs: the head runs drivers, the workers run trials.
  start_node head --head --node-ip-address=127.0.0.2 --port "$GCS_PORT" --dashboard-host=127.0.0.1 \
    --dashboard-port "$DASHBOARD_PORT" --ray-client-server-port "$CLIENT_PORT" --num-cpus 0 --num-gpus 0 \
    --object-store-memory 200000000 "$@"
}

start_worker() { # NAME, ray start options
  local name=$1 number; shift
  [[ $name =~ ^w([0-9]+)$ ]] || die "a worker's name: got '$name'; must be w1, w2, …"
  number=$((BASH_REMATCH[1] + 2))
  [ "$number" -ge 3 ] && [ "$number" -le 254 ] || die "a worker's name: got '$name'; must be w1 to w252"
  [ "$GPUS" = 0 ] || export SEARCHER_LOGICAL_GPUS=1
  start_node "$name" --address="127.0.0.2:$GCS_PORT" --node-ip-address="127.0.0.$number" \
    --num-cpus "$CPUS" --num-gpus "$GPUS" --object-store-memory 100000000 "$@"
}

command=${1:-} folder=${2:-}
[ -n "$folder" ] || { sed -n '2,15s/^# \{0,1\}//p' "$0" >&2; exit 2; }
folder=$(realpath -m -- "$folder")
shift 2
[ "${#folder}" -le 40 ] || die "FOLDER: $folder has ${#folder} characters; a socket's path allows 40: use one under /tmp"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$folder/token"
unset RAY_AUTH_TOKEN RAY_ADDRESS

if [ "$command" = start ]; then
  workers=2 CPUS=1 GPUS=0 DASHBOARD_PORT=8265
  while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || die "$1: needs a value"
    case $1 in
      --workers) workers=$2 ;;
      --cpus) CPUS=$2 ;;
      --gpus) GPUS=$2 ;;
      --dashboard-port) DASHBOARD_PORT=$2 ;;
      *) die "unknown option '$1'" ;;
    esac
    shift 2
  done
  [ ! -e "$folder/cluster.env" ] || die "$folder holds a cluster already: stop it, or take another folder"
  mkdir -p "$folder"
  chmod 700 "$folder"
  # Not `ray get-auth-token --generate`, which lets everybody read the file.
  python3 -c 'import secrets; print(secrets.token_hex(32), end="")' >"$RAY_AUTH_TOKEN_PATH"
  read -r GCS_PORT CLIENT_PORT any < <(free_ports 3)
  [ "$DASHBOARD_PORT" != 0 ] || DASHBOARD_PORT=$any
  cat >"$folder/cluster.env" <<END
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$folder/token
export RAY_API_SERVER_ADDRESS=http://127.0.0.1:$DASHBOARD_PORT
GCS_PORT=$GCS_PORT CLIENT_PORT=$CLIENT_PORT DASHBOARD_PORT=$DASHBOARD_PORT CPUS=$CPUS GPUS=$GPUS
END
  trap 'say "stopping what was started"; "$0" stop "$folder"' ERR EXIT
  start_head
  # All at once; their ports are chosen together, so that no two take the same.
  read -ra free < <(free_ports $((4 * workers)))
  starting=()
  for ((i = 1; i <= workers; i++)); do
    ports="${free[*]:4*(i-1):4}" start_worker "w$i" &
    starting+=($!)
  done
  for pid in "${starting[@]}"; do wait "$pid"; done
  trap - ERR EXIT
  say "ready: source $folder/cluster.env, then: searcher cluster doctor"
  exit 0
fi

[ -e "$folder/cluster.env" ] || die "$folder holds no cluster"
# shellcheck source=/dev/null
source "$folder/cluster.env"
case $command in
  worker) start_worker "$@" ;;
  head) start_head "$@" ;;
  kill) end KILL "${1:?NAME of a node}" ;;
  stop)
    for signal in TERM KILL; do
      for node in "$folder"/*/; do end "$signal" "$(basename "$node")"; done
      for ((i = 0; i < 50; i++)); do
        left=$(for node in "$folder"/*/; do pids_of "$(basename "$node")"; done)
        [ -n "$left" ] || break
        sleep 0.1
      done
    done
    rm -rf "$folder"
    ;;
  *) die "unknown command '$command'" ;;
esac
