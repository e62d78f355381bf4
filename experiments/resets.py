"""T-mazes in rollouts that cut episodes: does a memory that is cleared where one begins learn better? Beyond the paper.

A run takes less than five minutes of one core. It saves nothing on its way: one that was cut off begins again, with the
same numbers, since they follow from its seed.
"""

import itertools
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from experiments.data.t_maze import FEATURES, TURNS, TMaze
from experiments.harness.claims import Claim, Verdict, verdict
from experiments.harness.plots import Figure, learning_curve, line, panels
from experiments.harness.run import Run
from experiments.harness.search import LEVEL, planned, trials_by_seed
from experiments.harness.table import Table, Trial
from experiments.harness.training import TESTING, TRAINING, Measurement, constant_rate, jit_compile
from experiments.harness.words import count, percent, ranking
from experiments.models.actor_critic import Agent, Policy, Rollout, walk
from experiments.models.lstm_mixer import LSTMMixer
from keras_griffin.inspection.plots import FAMILY_COLOURS
from keras_griffin.mixers import RecurrentBlock

TITLE = "Resets"
FIGURE = "beyond the paper"
PAPER = (
    "Griffin's has no such experiment. Lu et al. (arXiv 2303.03982) let the memory of S5 layers be cleared at any step "
    "of a rollout, as an episode begins. On an environment that asks at its end what was seen at its start, such "
    "layers learn better than an LSTM, at a fifth of its time."
)
DIFFERS = (
    "The environment is a T-maze with corridors of 20, 40, 60, 80 or 100 steps, equally likely: a sign at the first "
    "step, then nothing to see, then a turn. Only the turn has a choice and a reward, 1 or -1. Of 32 mazes side by "
    "side a rollout has 128 steps each, and the memory goes on from one rollout to the next, without a gradient. A "
    "step of the optimizer, an advantage actor-critic's, follows each rollout; theirs is PPO's. The policies are two "
    "residual blocks of width 32 around a mixer. With resets, it is the recurrent block, which forgets where a maze "
    "begins; without resets, the same block without those marks; LSTM is `keras.layers.LSTM`, which takes a state and "
    "returns one, so that its memory goes on as well, but reads a rollout without a way to clear it there. (A cell in "
    "a loop of one's own could be cleared, as theirs is.) The last two are never cleared, in acting as in learning, "
    "and have to learn to forget at a sign. Adam (beta_2 0.99, gradients clipped to norm 1, no weight decay) with a "
    "rate that rises over 100 rollouts and then is constant; a run ends when 99.5 % of the turns of 20 rollouts were "
    "right twice in a row. Training takes about eight FLOPs a parameter and step, two to act and six to learn. Trained "
    "policies are tested with their likelier turn, in mazes one after another as in training. Steps are those of the "
    "environment."
)
RATES = (
    "Learning rates: each policy keeps the rate with the fewest steps to 95 % of the turns, then the one with the "
    "least loss, the nats of the right turn, in the runs of the first seed; every run is above."
)
WITH, WITHOUT, LSTM = "with resets", "without resets", "LSTM"
#: The mixer of each policy, as a function of the width.
MIXERS: dict[str, Callable[[int], RecurrentBlock | LSTMMixer]] = {
    WITH: lambda width: RecurrentBlock(4 * width // 3, decay_initializer="paper"),
    WITHOUT: lambda width: RecurrentBlock(4 * width // 3, decay_initializer="paper"),
    LSTM: lambda width: LSTMMixer(),
}
STYLES = {WITH: (FAMILY_COLOURS["RGLRU"], "s"), WITHOUT: ("gray", "o"), LSTM: (FAMILY_COLOURS["LSTM"], "^")}
#: The corridor that the claims are about, and the share of right turns from which a policy has learnt it.
CORRIDOR, LEARNT = 100, 0.95
#: Shares that differ by less are taken for equal.
TOLERANCE = 0.02


# Config


@dataclass(frozen=True)
class Size:
    """What a scale consists of."""

    width: int
    num_layers: int
    corridors: tuple[int, ...]
    #: The mazes side by side, and the steps of a rollout.
    rows: int
    length: int
    rollouts: int
    learning_rates: tuple[float, ...]
    policies: tuple[str, ...] = tuple(MIXERS)
    seeds: tuple[int, ...] = (0, 1, 2)
    #: Rollouts between two measurements, and in the tests.
    validate_every: int = 20
    test_rollouts: int = 40


SIZES = {
    "smoke": Size(
        width=8,
        num_layers=1,
        corridors=(2, 3),
        rows=4,
        length=8,
        rollouts=4,
        learning_rates=(1e-2,),
        # One policy, since compiling takes most of the time.
        policies=(WITH,),
        seeds=(0,),
        validate_every=2,
        test_rollouts=1,
    ),
    "small": Size(32, 2, (20, 40, 60, 80, 100), 32, 128, 1000, (1e-3, 3e-3)),
    # The width, layers, rollouts and steps with which Lu et al. train on POPGym, for an accelerator.
    "paper": Size(256, 4, (20, 40, 60, 80, 100), 64, 1024, 229, (5e-5, 2e-4)),
}


# Runs


def name(corridors: Sequence[int]) -> str:
    """A setting in words."""
    return f"corridors of {min(corridors)} to {max(corridors)}"


def of_corridor(corridor: int) -> str:
    """The setting of a test in corridors of one length."""
    return f"corridor {corridor}"


def plan(scale: str, seeds: Sequence[int], table: Table) -> list[Run]:
    """The search for a learning rate, then each seed."""
    size = SIZES[scale]
    steps = size.rows * size.length

    def run(family, corridors, learning_rate, seed):
        return Run(
            experiment="resets",
            scale=scale,
            family=family,
            config=None,
            data={
                "width": size.width,
                "num_layers": size.num_layers,
                "corridors": list(corridors),
                "length": size.length,
                "test_rollouts": size.test_rollouts,
            },
            setting=name(corridors),
            batch_size=size.rows,
            steps=size.rollouts * steps,
            learning_rate=learning_rate,
            seed=seed,
            validate_every=size.validate_every * steps,
            validation_rows=0,
        )

    return planned(run, [size.corridors], size.learning_rates, seeds, table, size.policies, is_closed=True)


def measure(run: Run, folder: Path) -> list[Measurement]:
    """Train a policy and test it; nothing is saved in the folder."""
    start = time.perf_counter()
    agent, rng = make_agent(run), np.random.default_rng((1 + run.seed) * TRAINING)
    measured = [Measurement(run.setting, 0, "parameters", agent.policy.count_params())]

    def sample(logits):
        return (logits + rng.gumbel(size=logits.shape)).argmax(axis=-1)

    maze = TMaze(run.batch_size, run.data["corridors"], rng)
    state, rollouts, streak = agent.policy.initial_state(run.batch_size), [], 0
    step, steps = 0, run.batch_size * run.data["length"]
    while step < run.steps and streak < 2:
        rollout, state = walk(agent, maze, state, run.data["length"], sample)
        last_values = agent.act(maze, state)[0][:, -1]
        agent.learn(rollout, last_values)
        rollouts.append(rollout)
        step += steps
        if step % run.validate_every == 0:
            share, nats = turns_of(rollouts)
            measured += [
                Measurement(run.setting, step, "token_accuracy", share),
                Measurement(run.setting, step, "loss", nats),
            ]
            streak = streak + 1 if share >= run.solved else 0
            rollouts = []
    measured += [Measurement(setting, step, "test_accuracy", share) for setting, share in tested(run, agent)]
    return [*measured, Measurement(run.setting, step, "seconds", time.perf_counter() - start)]


def make_agent(run: Run) -> Agent:
    """The policy of a run, and its programs."""
    keras.utils.clear_session()
    # The generator from which Keras draws the seeds of initialisers.
    random.seed(run.seed)
    width = run.data["width"]
    mixers = [MIXERS[run.family](width) for _ in range(run.data["num_layers"])]
    policy = Policy(mixers, width, 2 * width, TURNS, has_resets=run.family == WITH)
    return Agent(policy, FEATURES, constant_rate(run, None), jit_compile(run))


def turns_of(rollouts: Sequence[Rollout]) -> tuple[float, float]:
    """The share of right turns at the junctions, and the nats of the right turn."""
    shares, nats = [], []
    for rollout in rollouts:
        at = rollout.is_junction
        is_right, turns, logits = rollout.rewards[at] > 0, rollout.turns[at], rollout.outputs[at][:, :-1]
        right = np.where(is_right, turns, 1 - turns)
        shares.append(is_right)
        nats.append(np.logaddexp.reduce(logits, axis=-1) - logits[np.arange(len(right)), right])
    return float(np.concatenate(shares).mean()), float(np.concatenate(nats).mean())


def tested(run: Run, agent: Agent) -> Iterator[tuple[str, float]]:
    """The share of right turns in each corridor, of the likelier turns."""
    maze = TMaze(run.batch_size, run.data["corridors"], np.random.default_rng(TESTING))
    state, corridors, rewards = agent.policy.initial_state(run.batch_size), [], []
    for _ in range(run.data["test_rollouts"]):
        rollout, state = walk(agent, maze, state, run.data["length"], lambda logits: logits.argmax(axis=-1))
        corridors.append(rollout.corridors[rollout.is_junction])
        rewards.append(rollout.rewards[rollout.is_junction])
    corridors, is_right = np.concatenate(corridors), np.concatenate(rewards) > 0
    for corridor in run.data["corridors"]:
        yield of_corridor(corridor), float(is_right[corridors == corridor].mean())


# Claims


def complete(table: Table) -> list[dict[str, Trial]]:
    """The runs of each seed by policy; only seeds in which all are tested."""
    seeds = trials_by_seed(table, table.settings()[0], MIXERS).values()
    return [runs for runs in seeds if not any(math.isnan(right_turns(table, trial)) for trial in runs.values())]


def right_turns(table: Table, trial: Trial) -> float:
    """The share of right turns in the corridor that the claims are about."""
    return table.value(trial, "test_accuracy", of_corridor(CORRIDOR))


def resets_learn_it(table: Table) -> Verdict:
    """With resets more than 95 % of the turns are right; undecided where no policy has so many."""
    found = [{policy: right_turns(table, trial) for policy, trial in runs.items()} for runs in complete(table)]
    outcomes = [shares[WITH] > LEARNT if max(shares.values()) > LEARNT else None for shares in found]
    return verdict(outcomes, f"right turns in %, by seed: {_percents(table, WITH)}")


def without_them_it_is_worse(table: Table) -> Verdict:
    """Without resets fewer turns are right, by more than the tolerance, if they are learnt with resets."""
    outcomes = [
        right_turns(table, runs[WITHOUT]) < right_turns(table, runs[WITH]) - TOLERANCE
        if _is_learnt(table, runs)
        else None
        for runs in complete(table)
    ]
    told = "; ".join(f"{policy} {_percents(table, policy)}" for policy in (WITHOUT, WITH))
    return verdict(outcomes, f"right turns in %, by seed: {told}")


def an_lstm_is_no_better(table: Table) -> Verdict:
    """The LSTM has no more right turns than the policy with resets, beyond the tolerance, and learns them no sooner."""
    ends, courses, steps = [], [], []
    for runs in complete(table):
        most, own = (table.steps_to(runs[policy], "token_accuracy", LEVEL) for policy in (WITH, LSTM))
        is_learnt = _is_learnt(table, runs)
        no_more = right_turns(table, runs[LSTM]) <= right_turns(table, runs[WITH]) + TOLERANCE
        ends.append(no_more if is_learnt else None)
        courses.append(own >= most if is_learnt else None)
        steps.append(f"{count(own)} for {count(most)}")
    told = "; ".join(f"{policy} {_percents(table, policy)}" for policy in (LSTM, WITH))
    return verdict([*ends, *courses], f"right turns in %, by seed: {told}; steps to 95 %: {', '.join(steps)}")


def _is_learnt(table, runs):
    """Whether the policy with resets has learnt the turns."""
    return right_turns(table, runs[WITH]) > LEARNT


def _percents(table, policy):
    return ", ".join(percent(right_turns(table, runs[policy])) for runs in complete(table))


CLAIMS = (
    Claim(
        "Layers that can be cleared within a rollout learn what an environment asks at its end",
        f"with resets more than 95 % right turns in corridors of {CORRIDOR}",
        resets_learn_it,
    ),
    Claim(
        "Otherwise the memory of one episode leaks into the next",
        f"without resets more than 2 points fewer right turns in corridors of {CORRIDOR}",
        without_them_it_is_worse,
    ),
    Claim(
        "They learn better than an LSTM",
        f"the LSTM at most 2 points more right turns in corridors of {CORRIDOR}, and 95 % of all turns no sooner",
        an_lstm_is_no_better,
    ),
)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    return {
        "steps to 95 %": count(table.steps_to(trial, "token_accuracy", LEVEL)),
        **{
            f"{setting}, %": percent(table.value(trial, "test_accuracy", setting))
            for setting in table.tests(table.trials()[0], "test_accuracy")
        },
    }


def finding(table: Table) -> str:
    """The right turns in the corridor that the claims are about."""
    shares = {policy: [right_turns(table, runs[policy]) for runs in complete(table)] for policy in MIXERS}
    return ranking(f"Right turns in corridors of {CORRIDOR}: {{}} {{}} %", shares)


def draw(table: Table) -> Figure:
    """Right turns against steps of the environment, and of the trained policies against the corridor."""
    figure, (course, lengths) = panels(2, widths=(3, 2), styles=STYLES)
    for policy, runs in itertools.product(STYLES, trials_by_seed(table, table.settings()[0], MIXERS).values()):
        trial = runs[policy]
        steps, found = table.curve(trial, "token_accuracy")
        learning_curve(course, STYLES[policy], [step / 1e3 for step in steps], found)
        settings = table.tests(trial, "test_accuracy")
        corridors = [int(setting.split()[-1]) for setting in settings]
        line(lengths, STYLES[policy], corridors, [table.value(trial, "test_accuracy", each) for each in settings])
    for axes in (course, lengths):
        axes.axhline(50, color="gray", linestyle=":", linewidth=1)
        axes.set(ylim=(40, 103), ylabel="right turns, %")
    course.set(title=f"T-maze, {table.settings()[0]}", xlabel="thousand steps of the environment")
    lengths.set(title="Trained", xlabel="steps of the corridor\n(dotted: a guess)")
    return figure
