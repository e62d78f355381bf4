"""The server beside `generate`: tokens a second and the first token of 1, 8 and 64 clients, long talks, many requests.

    KERAS_BACKEND=jax python benchmarks/serving.py [--parts clients,talk,requests] [--small]

`clients`: each streams greedy tokens after 16 of its own; `generate` continues the same prompts in one batch, in
this process, right before. `talk`: 50 turns of a chat with `python_tiny`, with states kept and without. `requests`:
4,000 random ones from up to 64 clients, of which some hang up; every whole answer is compared with `generate`. The
server is a process of its own, and the clients are this one, on the same cores.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from timing import BACKEND

from keras_griffin.generation import Temperature, TopP
from keras_griffin.generation.uniform import uniform_numbers
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.tokenizers import ByteTokenizer

CLIENTS = (1, 8, 64)
#: Widths, numbers of layers, tokens of each answer, and repetitions.
SIZES = ((384, 6, 128, 5), (768, 12, 32, 3))


def made(width, num_layers):
    """A model of bytes with random weights."""
    keras.utils.set_random_seed(0)
    model = Griffin(GriffinConfig(256, width, num_layers, num_heads=width // 64 or 1, window=64))
    model.tokenizer = ByteTokenizer()
    return model


@contextlib.contextmanager
def saved(model):
    """The file of a model."""
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "model.keras")
        model.save(file)
        yield file


@contextlib.contextmanager
def served(file, *options):
    """A server of the model in a file: its process and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "keras_griffin", "serve", file, "--port", str(port), "--name", "m", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None
                time.sleep(0.2)
        yield process, port
    finally:
        process.terminate()
        process.wait()


async def ask(port, path, hang_up_after=None, **fields):
    """A streamed request: its text, seconds to its first piece, and its last usage; None if we hang up."""
    body = json.dumps({"model": "m", "stream": True, "stream_options": {"include_usage": True}, **fields}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    begun, first, text, usage, pieces = time.perf_counter(), None, "", None, 0
    try:
        writer.write(
            f"POST {path} HTTP/1.1\r\nhost: m\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        )
        writer.write(body)
        status = await reader.readline()
        assert b" 200 " in status, status + await reader.read()
        async for line in reader:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            assert "error" not in chunk, chunk
            usage = chunk.get("usage") or usage
            for choice in chunk["choices"]:
                piece = choice["text"] if "text" in choice else choice["delta"].get("content", "")
                text += piece
                pieces += 1
                if first is None and pieces > ("delta" in choice):
                    first = time.perf_counter() - begun
                if pieces == hang_up_after:
                    return None
    finally:
        writer.close()
    return text, first, usage


def clients(small):
    """Tokens a second of the server beside `generate`, and the first token."""
    print("| parameters | clients | `generate`, tokens/s | server, tokens/s | ratio | first token, ms |")
    print("|---|---|---|---|---|---|")
    for width, num_layers, count, repeats in [(32, 3, 16, 1)] if small else SIZES:
        model = made(width, num_layers)
        with saved(model) as file, served(file) as (_, port):
            for number in CLIENTS:
                results = side_by_side(model, port, number, count, repeats)
                theirs, ours, first = map(statistics.median, zip(*results, strict=True))
                parameters = f"{model.count_params() / 1e6:.1f} M"
                row = f"| {parameters} | {number} | {theirs:.0f} | {ours:.0f} | {ours / theirs:.2f} | {first:.0f} |"
                print(row, flush=True)


def side_by_side(model, port, number, count, repeats):
    """Of each repetition: tokens a second of `generate` and of the server, and ms to the first token."""
    generator = random.Random(number)
    prompts = [[generator.randrange(256) for _ in range(16)] for _ in range(number)]

    async def together():
        fields = {"max_tokens": count, "temperature": 0}
        return await asyncio.gather(*(ask(port, "/v1/completions", prompt=prompt, **fields) for prompt in prompts))

    results = []
    # The first compile.
    for _ in range(3 + repeats):
        begun = time.perf_counter()
        model.generate(prompts, count)
        theirs = time.perf_counter() - begun
        begun = time.perf_counter()
        found = asyncio.run(together())
        ours = time.perf_counter() - begun
        assert all(usage["completion_tokens"] == count for *_, usage in found)
        first = 1e3 * statistics.median(first for _, first, _ in found)
        results.append((number * count / theirs, number * count / ours, first))
    return results[3:]


def talk(small):
    """The first token of a turn, and the tokens of its prompt that are read, of `python_tiny`."""
    turns = 6 if small else 50
    shown = (2, turns // 2, turns)
    head = " | ".join(f"turn {turn}, ms | tokens read, of" for turn in shown)
    print(f"| states | {head} |\n|---|{'---|---|' * len(shown)}")
    for name, talks, options in (("kept", 5, ()), ("not kept", 1, ("--kept-megabytes", "0"))):
        with served("python_tiny", *options) as (_, port):
            results = []
            # The first compiles.
            for talk in range(1 if small else 1 + talks):
                messages, times = [], {}
                for turn in range(1, turns + 1):
                    messages.append({"role": "user", "content": f"# {turn} of talk {talk}, with some words"})
                    answer, first, usage = asyncio.run(
                        ask(port, "/v1/chat/completions", messages=messages, max_tokens=32, seed=turn)
                    )
                    messages.append({"role": "assistant", "content": answer})
                    # Who types takes longer.
                    time.sleep(0.05)
                    read = usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"]
                    times[turn] = 1e3 * first, read, usage["prompt_tokens"]
                results.append(times)
            cells = []
            for turn in shown:
                measured = [times[turn] for times in results[-talks:]]
                cells.append(f"{statistics.median(each[0] for each in measured):.1f}")
                cells.append(f"{measured[0][1]}, {measured[0][2]}")
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def requests(small):
    """Many random requests: those that are not what `generate` gives, and the server's memory."""
    total = 60 if small else 4000
    generator = random.Random(0)
    begin = [generator.randrange(256) for _ in range(200)]

    def drawn(number):
        prompt = begin[: generator.randrange(200)] if generator.random() < 0.5 else []
        prompt = prompt + [generator.randrange(256) for _ in range(generator.randrange(1, 40))]
        fields = {"prompt": prompt, "max_tokens": generator.randrange(1, 48), "seed": number}
        fields |= {"temperature": generator.choice([0, 0, 0.7, 1.0]), "top_p": generator.choice([1, 1, 0.8])}
        if generator.random() < 0.3:
            fields["stop"] = [chr(generator.randrange(32, 127))]
        return fields, generator.randrange(1, 6) if generator.random() < 0.1 else None

    asked = [drawn(number) for number in range(total)]
    model = made(32, 3)
    with saved(model) as file, served(file, "--kept-megabytes", "32") as (process, port):

        async def all_of(part):
            places = asyncio.Semaphore(64)

            async def one(fields, hang_up_after):
                async with places:
                    return await ask(port, "/v1/completions", hang_up_after, **fields)

            return await asyncio.gather(*(one(*each) for each in part))

        half = total // 2
        found = asyncio.run(all_of(asked[:half]))
        before = resident(process)
        found += asyncio.run(all_of(asked[half:]))
        after = resident(process)
    wrong = whole = 0
    for (fields, hang_up_after), answer in zip(asked, found, strict=True):
        if hang_up_after and answer is None:
            continue
        whole += 1
        if answer[0] != expected(model, fields):
            wrong += 1
            print(f"least margin: {least_margin(model, fields):.1e}", file=sys.stderr)
    print("| requests | hung up | whole answers | not as `generate` | MB after half of them | at the end |")
    print("|---|---|---|---|---|---|")
    print(f"| {total:,} | {total - whole:,} | {whole:,} | {wrong} | {before:.0f} | {after:.0f} |")


def sampler_of(fields):
    """What `generate` takes for these fields."""
    temperature, p = fields["temperature"], fields["top_p"]
    if not temperature:
        return "greedy"
    return Temperature(temperature) if p == 1 else TopP(p, temperature)


def expected(model, fields):
    """The text that `generate` gives, up to the stop string."""
    prompt = np.array(fields["prompt"], "int32")
    (row,) = model.generate([prompt], fields["max_tokens"], sampler=sampler_of(fields), seed=fields["seed"])
    text = model.tokenizer.decode(row[len(prompt) :])
    return text.split(fields["stop"][0])[0] if "stop" in fields else text


def least_margin(model, fields):
    """How near `generate` came to another token: the least distance of a random number to the end of an interval.

    For greedy tokens, the least difference of the two largest logits. Rounding to float32 decides below some 1e-7.
    """
    prompt = np.array(fields["prompt"], "int32")
    (row,) = model.generate([prompt], fields["max_tokens"], sampler=sampler_of(fields), seed=fields["seed"])
    logits = keras.ops.convert_to_numpy(model(row[None, :-1]))[0, len(prompt) - 1 :].astype("float64")
    if not fields["temperature"]:
        return np.diff(np.sort(logits)[:, -2:]).min()
    probabilities = np.exp((logits - logits.max(-1, keepdims=True)) / fields["temperature"])
    probabilities /= probabilities.sum(-1, keepdims=True)
    margins = []
    for each, (uniform,) in zip(probabilities, uniform_numbers("serving", fields["seed"], 1), strict=False):
        order = np.argsort(-each)
        sums = np.cumsum(each[order])
        kept = np.isin(np.arange(len(each)), order[: 1 + np.searchsorted(sums, fields["top_p"])])
        ends = np.cumsum(np.where(kept, each, 0))
        margins += [np.abs(ends / ends[-1] - uniform).min(), np.abs(sums - fields["top_p"]).min()]
    return min(margins)


def resident(process):
    """MB of a process in memory."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1]) / 1000


PARTS = {"clients": clients, "talk": talk, "requests": requests}


def main():
    """Print the tables of the active backend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="separated by commas (default: %(default)s)")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the program")
    arguments = parser.parse_args()
    for part in arguments.parts.split(","):
        print(f"\n### {part}, {BACKEND}\n", flush=True)
        PARTS[part](arguments.small)


if __name__ == "__main__":
    main()
