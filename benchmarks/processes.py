"""Two processes beside one on two cores, and what a run over several costs: agreements, saves, a restart, its data.

    KERAS_BACKEND=jax python benchmarks/processes.py [--parts steps,restart,data] [--small]

`steps`: docs/examples/train.py with its default model in float32, on one core, on two, and as two processes with a
core and half of the rows each; then the agreement after each batch, alone, and a save. `restart`: `kill -9` of one of
two processes, until the first step after it; torchrun starts both again, on JAX this program does. `data`: `tokenize`
by one process and by two, and reading the files as packed rows.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
BACKEND = os.environ.get("KERAS_BACKEND", "jax")
TORCHRUN = "-m torch.distributed.run --standalone --nproc-per-node 2 --max-restarts 1 --monitor-interval 0.1".split()
#: Steps that are timed, after those that compile; between two saves; and before a kill.
STEPS, FIRST, SAVE_EVERY, KILLED = 40, 10, 10, 25
VOCABULARY = 8192


def launch(folder, cores, count, *arguments):
    """Start training in processes with these cores each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []
    for index in range(count):
        names = {"JOB_ADDRESSES": f"127.0.0.1:{port}", "NUM_PROCESSES": str(count), "PROCESS_ID": str(index)}
        place = {f"KERAS_DISTRIBUTION_{name}": value for name, value in names.items()}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count), "RANK": str(index)}
        command = ["taskset", "-c", cores[index], sys.executable, __file__, "--worker", folder, *arguments]
        given = environment(len(cores[index].split(","))) | (place if count > 1 else {})
        processes.append(subprocess.Popen(command, env=given, stdout=subprocess.PIPE, text=True))
    return processes


def environment(threads):
    """The variables of a process with so many threads, which uses the CPU alone."""
    quiet = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    devices = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(threads)}
    return os.environ | quiet | devices | {"PYTHONPATH": str(ROOT), "KERAS_BACKEND": BACKEND}


def answer_of(processes):
    """What process 0 prints last, as JSON. If one fails, the others, which would wait for it, are ended."""
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(process.communicate) for process in processes]
        while None in (codes := [process.poll() for process in processes]) and not any(codes):
            time.sleep(0.1)
        for process in processes if any(codes) else ():
            process.kill()
    if any(codes):
        raise RuntimeError(f"a process must not fail. Got exit codes {codes}; None was ended.")
    return json.loads(answers[0].result()[0].splitlines()[-1])


def work(folder, small, kill):
    """Train, and print the seconds of a step, of a step with a save, and of an agreement."""
    # As where it isn't installed: in seconds Keras would load it, to set its seed.
    sys.modules["tensorflow"] = None
    import keras
    import numpy as np

    sys.path.append(str(ROOT / "docs" / "examples"))
    from train import DEFAULTS, train

    from keras_griffin.training import write_token_file
    from keras_griffin.training.resuming.processes import all_processes

    tokens = Path(folder) / "some.tokens"
    length = 32 if small else DEFAULTS["sequence_length"]
    index = int(os.environ.get("RANK", os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID", 0)))
    with open(Path(folder) / "lock", "a") as lock:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tokens.exists():
            documents = np.random.default_rng(0).integers(VOCABULARY, size=(8 * (STEPS + FIRST), length))
            write_token_file(tokens, documents, VOCABULARY)

    class Watch(keras.callbacks.Callback):
        """When each step begins; at one of them this process may be killed, once."""

        def __init__(self):
            super().__init__()
            self.times, self.is_again = [], (Path(folder) / "killed").exists()

        def on_train_batch_begin(self, batch, logs=None):
            self.times.append(time.perf_counter())
            killed = Path(folder) / "killed"
            if kill and index == 1 and len(self.times) == KILLED and not killed.exists():
                killed.write_text(str(time.time()))
                os.kill(os.getpid(), signal.SIGKILL)

        def on_train_batch_end(self, batch, logs=None):
            if index == 0 and self.is_again:
                (Path(folder) / "again").write_text(str(time.time()))
                self.is_again = False

    watch = Watch()
    model = {"width": 16, "num_layers": 2, "num_heads": 2, "window": 16} if small else DEFAULTS["model"]
    settings = {"dtype": "float32", "sequence_length": length, "save_every": SAVE_EVERY, "model": model}
    train(str(tokens), str(Path(folder) / "run"), settings, [watch])
    steps = np.diff(watch.times)[FIRST - 1 :]
    # A save follows every tenth step, before the next begins.
    is_saving = (np.arange(len(steps)) + FIRST) % SAVE_EVERY == 0
    processes, agreements = all_processes(), []
    for _ in range(500):
        start = time.perf_counter()
        processes.largest(0, 0, 0)
        agreements.append(time.perf_counter() - start)
    file = max((Path(folder) / "run").glob("*.safetensors"))
    answer = {"step": median(steps[~is_saving]), "agreement": median(agreements), "bytes": file.stat().st_size}
    print(json.dumps({**answer, "save": median(steps[is_saving]) - answer["step"]}), flush=True)


def measure_steps(small):
    """Print a table of steps, agreements and saves."""
    print(f"\n### A step of 8 rows on {BACKEND}\n")
    print("| processes | cores | seconds a step | of one on two cores | agreement, ms | save, ms | MB | MB/s |")
    print("|---|---|---|---|---|---|---|---|")
    whole = None
    for cores in (["0,1"], ["0"], ["0", "1"]):
        with tempfile.TemporaryDirectory() as folder:
            got = answer_of(launch(folder, cores, len(cores), *["--small"] * small))
        whole = whole or got["step"]
        size, save = got["bytes"] / 1e6, got["save"]
        print(
            f"| {len(cores)} | {' and '.join(cores)} | {got['step']:.3f} | {got['step'] / whole:.2f} "
            f"| {1e3 * got['agreement']:.3f} | {1e3 * save:.0f} | {size:.0f} | {size / save:.0f} |",
            flush=True,
        )


def measure_restart(small):
    """Print how long a killed process holds up the run."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [__file__, "--worker", folder, "--kill", *["--small"] * small]
        if BACKEND == "torch":
            subprocess.run([sys.executable, *TORCHRUN, *arguments], env=environment(1), check=True, stdout=-3)
        else:
            processes = launch(folder, ["0", "1"], 2, *arguments[3:])
            processes[1].wait()
            processes[0].kill()
            processes[0].wait()
            answer_of(launch(folder, ["0", "1"], 2, *arguments[3:]))
        killed, again = (float((Path(folder) / name).read_text()) for name in ("killed", "again"))
    lost = (KILLED - 1) % SAVE_EVERY
    print(f"\n### A killed process on {BACKEND}\n")
    print(f"{again - killed:.1f} s from `kill -9` to the end of the first step after it; {lost} steps are done again.")


def measure_data(small):
    """Print the rates of `tokenize` and of reading packed rows, and their memory."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    sizes = (1 << 18, 1 << 20) if small else (1 << 24, 1 << 26)
    library = [path.read_bytes() for path in sorted(Path(os.__file__).parent.glob("*.py"))]
    lines = b"\n".join(b"".join(library).splitlines()) + b"\n"
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator([lines[: 1 << 22].decode("utf-8", "replace")], trainer)
        tokenizer.save(f"{folder}/tokenizer.json")
        print("\n### Tokenizing lines of Python\n")
        print("| tokenizer | text, MB | processes | MB/s | memory of the largest process, MB |\n|---|---|---|---|---|")
        for name, options in (("bytes", []), (f"BPE, {VOCABULARY:,}", ["--tokenizer", f"{folder}/tokenizer.json"])):
            for size in sizes:
                text = Path(folder) / "text.txt"
                text.write_bytes((lines * (size // len(lines) + 1))[:size])
                for count in (1, 2):
                    output = f"{folder}/{len(options)}-{size}-{count}.tokens"
                    command = [sys.executable, "-m", "keras_griffin", "tokenize", str(text), "--lines", *options]
                    command += ["--output", output, "--shards", str(count)]
                    start = time.perf_counter()
                    process = subprocess.Popen(command, env=environment(1), stdout=subprocess.DEVNULL)
                    memory = 0
                    while process.poll() is None:
                        memory = max(memory, *map(private_bytes, with_children(process.pid)))
                        time.sleep(0.02)
                    if process.returncode:
                        raise RuntimeError(f"tokenize must succeed. Got exit code {process.returncode}.")
                    rate = size / 1e6 / (time.perf_counter() - start)
                    print(f"| {name} | {size / 1e6:.0f} | {count} | {rate:.1f} | {memory / 1e6:.0f} |", flush=True)
        print("\n### Reading packed rows of 256 tokens\n")
        print(
            "| documents | tokens | seconds to plan | bytes kept a document | million tokens a second | grown by, MB |"
        )
        print("|---|---|---|---|---|---|")
        for size in sizes:
            read = [sys.executable, __file__, "--read", f"{folder}/2-{size}-2.tokens"]
            print(subprocess.run(read, env=environment(1), check=True, stdout=-1, text=True).stdout.strip(), flush=True)


def read(path):
    """Print a row of the table of reading."""
    from keras_griffin.training import PackedDocuments, TokenFile

    documents = TokenFile(path)
    memory, start = private_bytes(), time.perf_counter()
    data = PackedDocuments(documents, 256, 8)
    planned, kept = time.perf_counter() - start, private_bytes() - memory
    data[0]
    memory, start = private_bytes(), time.perf_counter()
    count = min(data.num_batches, 4000)
    for index in range(count):
        data[index]
    rate = 8 * 256 * count / (time.perf_counter() - start) / 1e6
    print(
        f"| {len(documents):,} | {documents.num_tokens:,} | {planned:.1f} | {kept / len(documents):.0f} | {rate:.2f} "
        f"| {(private_bytes() - memory) / 1e6:.0f} |"
    )


def private_bytes(process="self"):
    """The memory of a process, without files that are mapped; 0 if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 1024 * sum(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


def with_children(process):
    """The numbers of a process and of all that it has started."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        children = []
    return [process, *(each for child in children for each in with_children(child))]


def main():
    """Measure, or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="steps,restart,data")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--worker", metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--kill", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--read", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        return read(options.read)
    if options.worker:
        return work(options.worker, options.small, options.kill)
    if BACKEND == "tensorflow":
        return print("\nOn TensorFlow a run has one process.")
    measures = {"steps": measure_steps, "restart": measure_restart, "data": measure_data}
    for part in options.parts.split(","):
        # What is read has no backend.
        if part != "data" or BACKEND == "jax":
            measures[part](options.small)


if __name__ == "__main__":
    main()
