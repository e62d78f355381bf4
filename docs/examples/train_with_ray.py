"""Train in workers of Ray Train; after a failure they start again, and resume.

    KERAS_BACKEND=torch python train_with_ray.py corpus.tokens /shared/runs/mine 2

--gpu gives a GPU to each; without, JAX also needs JAX_PLATFORMS=cpu. All workers must
see the tokens and the folder.
"""

import argparse
import os

import keras
from ray.train import FailureConfig, RunConfig, ScalingConfig
from train import train

#: What workers inherit of the environment.
KEPT = ("KERAS_BACKEND", "JAX_PLATFORMS", "XLA_FLAGS", "OMP_NUM_THREADS")


def in_worker(arguments: dict) -> None:
    """One of the processes, which Ray has joined; the arguments are for `train`."""
    train(**arguments)


def fit(arguments: dict, workers: int, use_gpu: bool = False, run=in_worker) -> None:
    """Train in so many workers; three failures are made good."""
    options = {}
    if keras.backend.backend() == "jax":
        from ray.train.v2.jax import JaxConfig
        from ray.train.v2.jax import JaxTrainer as Trainer

        # For JAX_PLATFORMS=cpu too: without a device, Ray joins no processes.
        options["jax_config"] = JaxConfig(use_gpu=True)
    else:
        from ray.train.torch import TorchTrainer as Trainer
    inherited = {name: os.environ[name] for name in KEPT if name in os.environ}
    run_config = RunConfig(
        # What Ray itself writes goes beside the run.
        name="ray",
        storage_path=os.path.dirname(arguments["folder"]),
        failure_config=FailureConfig(max_failures=3),
        worker_runtime_env={"env_vars": inherited},
    )
    scaling = ScalingConfig(num_workers=workers, use_gpu=use_gpu)
    Trainer(
        run,
        train_loop_config=arguments,
        scaling_config=scaling,
        run_config=run_config,
        **options,
    ).fit()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tokens", type=os.path.abspath, help="a token file or folder")
    parser.add_argument("folder", type=os.path.abspath, help="of the run")
    parser.add_argument("workers", type=int, help="how many")
    parser.add_argument("--gpu", action="store_true", help="a GPU for each worker")
    given = parser.parse_args()
    fit({"tokens": given.tokens, "folder": given.folder}, given.workers, given.gpu)
