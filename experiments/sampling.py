"""Time of sampling: latency, and tokens a second with large batches. Section 5, Figures 1b and 4.

Nothing is trained. A time is that of one process with all cores of a machine that does nothing else, so run it alone:

    python -m experiments sampling

Processes that share the experiments don't measure at once, since a run is planned when the one before has finished. But
whatever else they do disturbs the times.
"""

import functools
import itertools
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from experiments.harness.block_times import block_seconds, bytes_per_second, compile_blocks, fastest_blocks
from experiments.harness.claims import NOT_GIVEN, Claim, Verdict, verdict
from experiments.harness.plots import Figure, panels
from experiments.harness.ranges import Range, all_hold, is_less
from experiments.harness.run import Run
from experiments.harness.table import Table, Trial
from experiments.harness.training import Measurement
from experiments.harness.words import count, ranking
from experiments.models.families import FAMILIES, STYLES, TINY, family_model
from keras_griffin.generation.generate import BLOCK
from keras_griffin.inspection import Device, decode_cost
from keras_griffin.models import GriffinConfig

TITLE = "Time of sampling"
FIGURE = "Figures 1b and 4"
SETTING = "measured"
PAPER = (
    "Hawk and Griffin of about a billion parameters sample long texts with less latency than the Transformer, 16 rows "
    "at once, and the difference is greater after a prompt of 4,096 tokens. With the largest batch that fits in memory "
    "Hawk makes the most tokens a second, then Griffin. Figure 1b has the labels 1.8, 3.3 and 6.6 times the "
    "Transformer, presumably at 1,024, 2,048 and 4,096 tokens; no other number is given."
)
DIFFERS = (
    "Untrained models of 5 million parameters in float32, on processor cores, for which a step is soon bound by its "
    "products: only the order counts. A latency is that of `generate`, greedy, without reading the prompt; an empty "
    "prompt is one token. The largest batch is that whose caches fit in 400 MB after the last token by `decode_cost`, "
    "but at most 128 rows, up to which equation 5 of the paper holds; Hawk and Griffin have room for more. Compilation "
    "is not timed. A latency is the least of two passes, or of three if the first two take less than a minute. Its "
    "range is from the time of a pass whose blocks of 128 tokens are all as fast as the fastest with the same work, to "
    "the slowest pass; a comparison of two whose ranges overlap is undecided. Equation 5 has the bandwidth at which "
    "the cores read memory, measured before each run; a part of what a step reads is in the processor's caches. The "
    "Transformer's cache grows by powers of two, and a token computes with its empty places too: 4,096 tokens with "
    "1.33 times the keys that they need, after a prompt of 4,096 with 1.11 times. Griffin's windows have all of their "
    "256 places from the first token."
)
#: The factor within which Griffin is as fast as Hawk, in either direction.
SIMILAR = 1.25
#: The setting of runs with the largest batch.
LARGEST = "largest batch, empty prompt"
#: The mixers of the families whose pattern is not the config's.
PATTERNS = {"MQA": ("global_mqa",), "Hawk": ("recurrent",)}


# Config


@dataclass(frozen=True)
class Size:
    """What a scale consists of."""

    config: GriffinConfig
    #: Tokens before the first one that is timed.
    prompts: tuple[int, ...]
    #: Tokens to make, multiples of a block.
    tokens: tuple[int, ...]
    #: The same with the largest batch.
    tokens_of_largest: tuple[int, ...]
    #: What the caches of the largest batch may fill.
    cache_bytes: int
    batch_size: int = 16
    #: Tokens between two looks at the clock.
    block: int = BLOCK
    #: At least and at most, and the seconds after which only the least are made.
    least_passes: int = 2
    passes: int = 3
    patience: float = 60.0
    #: The bytes that are read to measure the bandwidth.
    read_bytes: int = 2**29
    families: tuple[str, ...] = tuple(FAMILIES)
    seeds: tuple[int, ...] = (0,)


SIZES = {
    "smoke": Size(
        config=TINY.replace(window=4),
        prompts=(1,),
        tokens=(2, 4),
        tokens_of_largest=(),
        cache_bytes=10**4,
        batch_size=2,
        block=2,
        passes=2,
        read_bytes=2**20,
        # One model, since compiling takes most of the time.
        families=("Griffin",),
    ),
    "small": Size(
        config=GriffinConfig(
            vocabulary_size=256, width=256, num_layers=6, num_heads=2, window=256, decay_initializer="paper"
        ),
        prompts=(1, 4096),
        tokens=(128, 256, 512, 1024, 2048, 4096),
        tokens_of_largest=(512, 1024, 2048, 4096),
        cache_bytes=400 * 10**6,
    ),
    # The paper's model of 1.3 billion parameters, on an accelerator with room for as much again.
    "paper": Size(
        config=GriffinConfig(
            vocabulary_size=256_000,
            width=2048,
            num_layers=24,
            num_heads=16,
            recurrence_width=2560,
            window=1024,
            decay_initializer="paper",
        ),
        prompts=(1, 4096),
        tokens=(128, 256, 512, 1024, 2048, 4096),
        tokens_of_largest=(512, 1024, 2048, 4096),
        cache_bytes=6 * 10**9,
    ),
}


# Runs


def plan(scale: str, seeds: Sequence[int], table: Table) -> list[Run]:
    """The runs that have finished and the next one, so that processes never measure at once."""
    size = SIZES[scale]

    def run(family, setting, prompt, tokens, batch_size, seed):
        return Run(
            experiment="sampling",
            scale=scale,
            family=family,
            config=config_of(family, size),
            data={
                "prompt": prompt,
                "tokens": tokens,
                "block": size.block,
                "least_passes": size.least_passes,
                "passes": size.passes,
                "patience": size.patience,
                "read_bytes": size.read_bytes,
            },
            setting=setting,
            batch_size=batch_size,
            steps=0,
            learning_rate=None,
            seed=seed,
            validate_every=1,
            validation_rows=0,
        )

    runs = [
        run(family, latency(size.batch_size, prompt), prompt, list(size.tokens), size.batch_size, seed)
        for seed in seeds
        for prompt in size.prompts
        for family in size.families
    ]
    runs += [
        run(family, LARGEST, 1, tokens, batch_size, seed)
        for seed in seeds
        for family in size.families
        for batch_size, tokens in largest_batches(family, size).items()
    ]
    finished = {trial.run for trial in table.trials()}
    waiting = [run for run in runs if run.identity not in finished]
    return [run for run in runs if run.identity in finished] + waiting[:1]


def config_of(family: str, size: Size) -> GriffinConfig:
    """The config with the mixers of a family."""
    return size.config.replace(block_pattern=PATTERNS.get(family, size.config.block_pattern))


def latency(batch_size: int, prompt: int) -> str:
    """The setting of a latency."""
    return f"{batch_size} rows, {'empty prompt' if prompt == 1 else f'after {prompt:,} tokens'}"


def name(tokens: int) -> str:
    """The setting of a time in words."""
    return f"{tokens:,} tokens"


@functools.cache
def largest_batches(family: str, size: Size) -> dict[int, list[int]]:
    """The numbers of tokens by the largest batch whose caches fit then."""
    config, batches = config_of(family, size), {}
    for tokens in size.tokens_of_largest:
        # Its memory is that of the parameters and of the caches; the bandwidth does not matter.
        device = Device("the caches", 4 * config.parameter_count() + size.cache_bytes, 1.0)
        cost = decode_cost(config, 1, tokens, device=device, dtype="float32")
        batches.setdefault(min(cost.largest_batch, cost.memory_bound_batch), []).append(tokens)
    return batches


def measure(run: Run, folder: Path) -> list[Measurement]:
    """The times of a run: each number of tokens has its latency, the ends of its range, and that of equation 5."""
    start = time.perf_counter()
    keras.utils.clear_session()
    # The generator from which Keras draws the seeds of initialisers.
    random.seed(run.seed)
    model = family_model(run)
    prompt, tokens, block = run.data["prompt"], run.data["tokens"], run.data["block"]
    machine = Device("this machine", 1.0, bytes_per_second(run.data["read_bytes"]))
    ids = np.random.default_rng(run.seed).integers(model.config.vocabulary_size, size=(run.batch_size, prompt))
    state = model.prefill(ids)
    work = compile_blocks(model, state, tokens[-1] // block, block)
    passes, began = [], time.perf_counter()
    while len(passes) < run.data["least_passes"] or (
        len(passes) < run.data["passes"] and time.perf_counter() < began + run.data["patience"]
    ):
        passes.append(block_seconds(model, state, tokens[-1] // block, block))
    measured = {
        "latency": np.cumsum(passes, axis=1).min(axis=0),
        "least_latency": np.cumsum(fastest_blocks(np.array(passes), work)),
        "greatest_latency": np.cumsum(passes, axis=1).max(axis=0),
        "predicted_latency": np.cumsum(list(predicted_block_seconds(run, machine, tokens[-1] // block))),
    }
    return [
        Measurement(run.setting, 0, "parameters", model.count_params()),
        Measurement(run.setting, 0, "rows", run.batch_size),
        Measurement(run.setting, 0, "passes", len(passes)),
        Measurement(run.setting, 0, "bytes_per_second", machine.bytes_per_second),
        *(
            Measurement(name(number), 0, metric, seconds[number // block - 1])
            for number in tokens
            for metric, seconds in measured.items()
        ),
        Measurement(run.setting, 0, "seconds", time.perf_counter() - start),
    ]


def predicted_block_seconds(run: Run, device: Device, number: int) -> Iterator[float]:
    """The seconds of each block by equation 5, at its middle."""
    block = run.data["block"]
    for place in range(number):
        context = run.data["prompt"] + place * block + block // 2
        yield block * decode_cost(run.config, run.batch_size, context, device=device, dtype="float32").seconds_per_step


# Claims


def seconds(table: Table, family: str, setting: str, tokens: int) -> Range:
    """The latency of a row's tokens; the numbers are NaN if it is not measured."""
    return _range(table, family, setting, tokens, lambda trial: 1)


def seconds_a_token(table: Table, family: str, tokens: int) -> Range:
    """The seconds for each token of all rows, with the largest batch."""
    return _range(table, family, LARGEST, tokens, lambda trial: tokens * table.value(trial, "rows"))


def _range(table, family, setting, tokens, parts):
    """A latency divided by the `parts` of a run. More seeds are more passes."""
    runs = [trial for trial in table.trials(family, setting) if table.text(trial, "latency", name(tokens))]
    found = {
        metric: [table.value(trial, metric, name(tokens)) / parts(trial) for trial in runs]
        for metric in ("latency", "least_latency", "greatest_latency")
    }
    number, least, greatest = found.values()
    return Range(
        *(choose(values, default=math.nan) for choose, values in ((min, number), (min, least), (max, greatest)))
    )


def latencies(table: Table) -> list[str]:
    """The settings in which latencies are measured."""
    return [setting for setting in table.settings() if setting != LARGEST]


def numbers(table: Table, setting: str) -> list[int]:
    """The numbers of tokens that are measured in a setting."""
    tests = (test for trial in table.trials(setting=setting) for test in table.tests(trial, "latency"))
    return sorted({int(test.split()[0].replace(",", "")) for test in tests})


def they_are_faster(table: Table) -> Verdict:
    """Hawk and Griffin take less time than the Transformer, by a factor that grows with the tokens and the prompt."""
    outcomes, told, factors = [], [], []
    for family in ("Hawk", "Griffin"):
        ends, holds = [], []
        for setting in latencies(table):
            few, many = (
                seconds(table, "MQA", setting, tokens).over(seconds(table, family, setting, tokens))
                for tokens in (min(numbers(table, setting), default=0), max(numbers(table, setting), default=0))
            )
            holds += [is_less(Range(1, 1, 1), many), is_less(few, many)]
            ends.append(many)
            told.append(f"{family}, {setting} {_times(few)} and {_times(many)}")
        holds += [is_less(before, after) for before, after in itertools.pairwise(ends)]
        outcomes.append(all_hold(*holds))
        factors.append(f"{family} {' and '.join(map(_times, ends))}")
    return verdict(
        outcomes,
        f"latency of MQA over that of the model, at the fewest and the most tokens: {'; '.join(told)}",
        f"{', '.join(factors)} times as fast as MQA",
    )


def griffin_is_like_hawk(table: Table) -> Verdict:
    """Griffin takes at most 1.25 times as long as Hawk, and Hawk as Griffin."""
    outcomes, told, ratios = [], [], []
    for setting in latencies(table):
        found = [
            seconds(table, "Griffin", setting, tokens).over(seconds(table, "Hawk", setting, tokens))
            for tokens in numbers(table, setting)
        ]
        least, greatest = Range(*3 * [1 / SIMILAR]), Range(*3 * [SIMILAR])
        outcomes += [all_hold(is_less(least, ratio), is_less(ratio, greatest)) for ratio in found]
        told.append(f"{setting} {', '.join(map(_times, found))}")
        ratios += found
    return verdict(
        outcomes,
        f"latency of Griffin over that of Hawk, from the fewest tokens to the most: {'; '.join(told)}",
        f"Griffin takes {_times(min(ratios))} to {_times(max(ratios))} times as long as Hawk" if ratios else "",
    )


def they_make_more_tokens(table: Table) -> Verdict:
    """Hawk makes more tokens a second than Griffin, and Griffin than the Transformer, the more the longer."""
    outcomes, ratios, between = [], {"Hawk": [], "Griffin": []}, []
    for tokens in numbers(table, LARGEST):
        mqa, griffin, hawk = (seconds_a_token(table, family, tokens) for family in ("MQA", "Griffin", "Hawk"))
        outcomes.append(all_hold(is_less(hawk, griffin), is_less(griffin, mqa)))
        ratios["Hawk"].append(mqa.over(hawk))
        ratios["Griffin"].append(mqa.over(griffin))
        between.append(griffin.over(hawk))
    if len(outcomes) > 1:
        outcomes.append(all_hold(*(is_less(found[0], found[-1]) for found in ratios.values())))
    told = [f"{family} {', '.join(map(_times, found))}" for family, found in ratios.items()]
    ours = f"{'; '.join(told)}, from {min(numbers(table, LARGEST), default=0):,} tokens on"
    told.append(f"Hawk over Griffin {', '.join(map(_times, between))}")
    lengths = ", ".join(f"{tokens:,}" for tokens in numbers(table, LARGEST))
    return verdict(outcomes, f"tokens a second over those of MQA, at {lengths} tokens: {'; '.join(told)}", ours)


def _times(ratio):
    return "not measured" if math.isnan(ratio.number) else f"{ratio.number:.2f}"


CLAIMS = (
    Claim(
        "Hawk has the greatest throughput, then Griffin, then the Transformer, the more so the longer the text",
        "Hawk above Griffin and Griffin above MQA at each number of tokens; their factors over MQA are greater at "
        "4,096 than at 512",
        they_make_more_tokens,
        "Figure 1b",
        "1.8, 3.3 and 6.6 times MQA's tokens a second, presumably at 1,024, 2,048 and 4,096 tokens",
    ),
    Claim(
        "Hawk and Griffin sample long texts with less latency than the Transformer, the more so after a prompt",
        "less than MQA at 4,096 tokens; the factor is greater than at 128, and greater after the prompt than without",
        they_are_faster,
        "Figure 4",
        NOT_GIVEN,
        "repeated passes differ too much",
    ),
    Claim(
        "The latencies of Griffin and Hawk are similar",
        "each at most 1.25 times the other, at each number of tokens",
        griffin_is_like_hawk,
        "Figure 4",
        NOT_GIVEN,
        "too near to the limit",
    ),
)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    every = sorted({tokens for setting in table.settings() for tokens in numbers(table, setting)})
    own = [tokens for tokens in every if table.text(trial, "latency", name(tokens))]
    last = name(own[-1] if own else 0)
    latency, least, greatest, predicted = (
        table.value(trial, metric, last)
        for metric in ("latency", "least_latency", "greatest_latency", "predicted_latency")
    )
    rows = table.value(trial, "rows")
    return {
        "rows": count(rows),
        **{f"{name(tokens)}, s": _two_digits(table.value(trial, "latency", name(tokens))) for tokens in every},
        "passes": count(table.value(trial, "passes")),
        "range of the last, s": "" if math.isnan(least) else f"{least:,.2f} to {greatest:,.2f}",
        "equation 5 for the last, s": _two_digits(predicted),
        "tokens a second": count(rows * own[-1] / latency) if own else "",
        "read, GB a second": _two_digits(table.value(trial, "bytes_per_second") / 1e9),
    }


def _two_digits(number):
    return "" if math.isnan(number) else f"{number:,.2f}"


def finding(table: Table) -> str:
    """The throughput at the most tokens, in that of the Transformer."""
    tokens = max(numbers(table, LARGEST), default=0)
    mqa = seconds_a_token(table, "MQA", tokens).number
    ratios = {family: [mqa / seconds_a_token(table, family, tokens).number] for family in ("Griffin", "Hawk")}
    words = f"With the largest batch {{}} makes {tokens:,} tokens {{}} times as fast as MQA"
    return ranking(words, ratios, "{:.1f}".format)


def draw(table: Table) -> Figure:
    """Latency against tokens, a panel for each prompt, and tokens a second with the largest batch."""
    settings = [setting for setting in table.settings() if numbers(table, setting)]
    figure, axes = panels(max(1, len(settings)))
    # Without a number there is one empty panel.
    for each, setting in zip(axes, settings, strict=False):
        if setting != LARGEST and each is not axes[0]:
            each.sharey(axes[0])
        for family in FAMILIES:
            for metric, style in (("latency", "-"), ("predicted_latency", "--")):
                _line(each, table, family, setting, metric, style)
        each.set(title=setting.replace(", ", "\n", 1), xscale="log", yscale="log", xlabel="tokens of a row")
        each.set_ylabel("tokens a second" if setting == LARGEST else "seconds")
        each.xaxis.set_major_locator(FixedLocator(numbers(table, setting)[::-2][::-1]))
        each.xaxis.set_minor_locator(NullLocator())
        each.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        each.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    handles = [
        Line2D([], [], color="gray", linestyle=style, label=label)
        for label, style in (("measured", "-"), ("equation 5", "--"))
    ]
    axes[0].legend(handles=handles, fontsize="small", frameon=False)
    return figure


def _line(axes, table, family, setting, metric, style):
    """The seconds against the tokens, or the tokens a second that follow."""
    points = []
    for trial in table.trials(family, setting):
        for tokens in numbers(table, setting):
            found = table.value(trial, metric, name(tokens))
            if not math.isnan(found):
                rows = table.value(trial, "rows")
                points.append((tokens, rows * tokens / found if setting == LARGEST else found))
    colour, marker = STYLES[family]
    axes.plot(
        [tokens for tokens, _ in sorted(points)],
        [value for _, value in sorted(points)],
        color=colour,
        linestyle=style,
        marker=marker if style == "-" else None,
        markersize=4,
        linewidth=1.2,
        alpha=0.8,
    )
