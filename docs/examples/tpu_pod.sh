#!/bin/bash
# A slice of a TPU pod: the same command on every host; they find each other.
#   bash tpu_pod.sh NAME ZONE
# /shared is a file system that all hosts have mounted, such as Filestore.
set -euo pipefail

gcloud compute tpus tpu-vm ssh "$1" --zone "$2" --worker all --command '
    KERAS_BACKEND=jax python train.py /shared/corpus /shared/runs/mine \
        --weights sharded --find-processes
'
