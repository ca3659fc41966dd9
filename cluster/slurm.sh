#!/usr/bin/env bash
# A sweep on whole nodes of a Slurm cluster; Ray lives as long as the job. A job that is put back in the queue, or
# submitted again, goes on from what was measured.
#
#   sbatch cluster/slurm.sh SWEEP.yaml          # `results:` in a folder that all nodes share
#
#SBATCH --job-name=searcher
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=1
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
umask 077
sweep=$(realpath -- "${1:?SWEEP.yaml}")

# In the home folder, which all nodes see and only you read.
private=$(mktemp -d "$HOME/.searcher-slurm-${SLURM_JOB_ID:?run me with sbatch}-XXXXXX")
trap 'rm -rf "$private"' EXIT
python3 -c 'import secrets; print(secrets.token_hex(32), end="")' >"$private/token"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$private/token" RAY_USAGE_STATS_ENABLED=0
unset RAY_AUTH_TOKEN RAY_ADDRESS

# Ray makes its folders open to all: they get a parent that is not.
folder=/tmp/ray-$SLURM_JOB_ID
srun mkdir -m 700 "$folder"
trap 'rm -rf "$private"; srun rm -rf "$folder"' EXIT

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
port=$((20000 + SLURM_JOB_ID % 20000))

# `symmetric-run` ends with `ray stop`, which ends every Ray of yours on the node: hence --exclusive. It answers 0
# also when a node's Ray did not start, so the sweep writes its own exit code.
srun --kill-on-bad-exit=1 ray symmetric-run --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --temp-dir "$folder/r" --dashboard-host 127.0.0.1 -- \
  bash -c 'searcher run "$1" --resume --address "$3"; echo $? >"$2/code"' searcher "$sweep" "$private" "$head:$port" || true

[ -s "$private/code" ] || { echo "slurm.sh: the sweep did not start: see the lines above" >&2; exit 1; }
exit "$(cat "$private/code")"
