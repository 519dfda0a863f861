#!/usr/bin/env bash
# A sweep on the nodes of a Slurm job: sbatch experiments/slurm-ray.sh
#SBATCH --job-name=four-questions
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#
# Submit it in the project's folder, on a file system that all nodes share, after
#   make setup && .venv/bin/python -m pip install -e '.[ray,server]' && make prepare
# A job that ran out of time is submitted again: it goes on from the checkpoints.
set -euo pipefail
PATH="$PWD/.venv/bin:$PATH"
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# SQLite serves one node; here all nodes write through this server, on the job's first node. Others can reach it as
# well, so it asks for a password, which is made once.
password=.cache/server.password
mkdir -p .cache
[ -s "$password" ] || (umask 077 && python -c 'import secrets; print(secrets.token_hex(16))' >"$password")
export MLFLOW_TRACKING_USERNAME=admin MLFLOW_TRACKING_PASSWORD
MLFLOW_TRACKING_PASSWORD=$(cat "$password")
make server HOST=0.0.0.0 HOSTS="$head" AUTH=1 ARGS="--server.password_file=$password" &
until curl --silent --fail "http://localhost:5000/health" >/dev/null; do sleep 1; done

# Whoever can reach Ray could have it run anything: it asks for a token, which the nodes read in the home folder.
export RAY_AUTH_MODE=token
ray get-auth-token --generate >/dev/null
srun --nodes=1 --ntasks=1 --nodelist="$head" ray start --head --port=6379 --num-cpus="$SLURM_CPUS_PER_TASK" --block &
sleep 15
if ((SLURM_NNODES > 1)); then
    srun --nodes=$((SLURM_NNODES - 1)) --ntasks=$((SLURM_NNODES - 1)) --exclude="$head" \
        ray start --address="$head:6379" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
    sleep 15
fi

MLFLOW_TRACKING_URI="http://$head:5000" make sweep VARS="${VARS:-0.01 0.05 0.1}" SEEDS="${SEEDS:-0 1 2 3 4 5 6}" \
    ENGINE=ray RAY_ADDRESS="$head:6379" THREADS=2
