"""Everything that `make parity` does, in one table at the end.

    .venv/bin/python -m parity.run [--backends jax,torch,tensorflow] [--folder FOLDER]

The references run in .venv-parity, keras_griffin on each backend in this interpreter's environment.
"""

import argparse
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from parity.rows import read_rows, table

ROOT = Path(__file__).resolve().parent.parent
REFERENCES = ROOT / ".venv-parity" / "bin" / "python"
#: On the CPU everywhere: accelerators round the products of float32.
SETTINGS = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def main():
    """Run it; the exit status is 1 when any comparison failed or never came."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default="jax,torch,tensorflow", help="separated by commas; %(default)s")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "parity", help="made anew; %(default)s")
    options = parser.parse_args()
    backends, folder = options.backends.split(","), options.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ended = [start(REFERENCES, "parity.make_references", folder), start(REFERENCES, "parity.freeze", folder)]
    with ThreadPoolExecutor(min(len(backends), os.cpu_count())) as pool:
        ended += pool.map(lambda name: start(sys.executable, "parity.compare", folder, KERAS_BACKEND=name), backends)
    ended.append(start(REFERENCES, "parity.reload", folder, *backends))
    columns = {"itself": read_rows(folder, "itself") + read_rows(folder, "frozen")}
    columns |= {name: read_rows(folder, name) + read_rows(folder, f"{name}-reloaded") for name in backends}
    text, ok = table(columns)
    print(text)
    return 0 if ok and all(ended) else 1


def start(interpreter, module, *arguments, **settings):
    """Run a module; return whether it came to its end. Where it did not, its rows are missing."""
    command = [interpreter, "-m", module, *map(str, arguments)]
    status = subprocess.call(command, cwd=ROOT, env={**os.environ, **SETTINGS, **QUIET, **settings})
    if status:
        print(f"{module} ended with status {status} {settings or ''}", flush=True)
    return not status


if __name__ == "__main__":
    sys.exit(main())
