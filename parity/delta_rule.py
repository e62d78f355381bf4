"""Gated DeltaNet beside Qwen3-Next's in `transformers`: the op with its two functions, the mixer with its module.

`answers_of_transformers` runs in .venv-parity and leaves an `.npz`; `judge` in .venv, once for each backend.
"""

import numpy as np

from parity.rows import row

CASE, REFERENCE, FILE = "gated delta net", "transformers", "gated-delta-net.npz"
#: G, N, H, P, D, and the tokens of a row, which are more than a chunk.
GROUPS, HEADS, CHANNELS, VALUES, WIDTH, LENGTH = 2, 4, 8, 6, 16, 80
#: How far outputs and states may be apart, in float32; and outputs of the module, whose decays are strong and, between
#: two steps, differences of sums: it is 8e-5 from its equations in float64, for outputs up to 11, and ours 5e-6.
LIMIT, LIMIT_OF_MODULE = 1e-5, 1e-4
PROMPT = 70


def sequences(keys_are_equal):
    """q, k, v, l and b of two rows, and an initial state; a rate of one replaces all that was under the key."""
    generator = np.random.default_rng(int(keys_are_equal))
    draw = lambda *shape: generator.normal(size=shape).astype("float32")  # noqa: E731
    query, key = (draw(2, LENGTH, GROUPS, CHANNELS) for _ in range(2))
    key = key[:, :1] + 0.0 * key if keys_are_equal else key
    query, key = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (query, key))
    decay, rates = generator.random((2, 2, LENGTH, HEADS)).astype("float32")
    rates = np.ones_like(rates) if keys_are_equal else rates
    return query, key, draw(2, LENGTH, HEADS, VALUES), -decay, rates, draw(2, HEADS, CHANNELS, VALUES)


WAYS = {"keys of any direction": False, "equal keys, rates of one": True}


def answers_of_transformers(folder):
    """Write what `transformers` says, and yield the rows of how far its two functions are from one another."""
    import torch
    from transformers.models.qwen3_next import modeling_qwen3_next as theirs

    answers = {}
    for what, keys_are_equal in WAYS.items():
        query, *others = map(torch.from_numpy, sequences(keys_are_equal))
        # Its functions divide queries by the root of H.
        query, others = query * CHANNELS**0.5, [*others[:2], *others[2:]]
        results = {}
        for name in ("chunk", "recurrent"):
            function = getattr(theirs, f"torch_{name}_gated_delta_rule")
            results[name] = function(
                *(query, *others[:2]), g=others[2], beta=others[3], initial_state=others[4], output_final_state=True
            )
            answers |= {f"{what}, {name}, {i}": part.numpy() for i, part in enumerate(results[name])}
        gap = max(float((a - b).abs().max()) for a, b in zip(*results.values(), strict=True))
        yield row(CASE, f"{what}, chunk", REFERENCE, gap, LIMIT)
    answers |= _answers_of_the_module(torch, theirs)
    np.savez(folder / FILE, **answers)


def _answers_of_the_module(torch, theirs):
    """Weights, inputs and outputs of the module."""
    config = theirs.Qwen3NextConfig(
        hidden_size=WIDTH,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
        linear_num_key_heads=GROUPS,
        linear_num_value_heads=HEADS,
        linear_key_head_dim=CHANNELS,
        linear_value_head_dim=VALUES,
    )
    torch.manual_seed(0)
    module = theirs.Qwen3NextGatedDeltaNet(config, 0)
    inputs = torch.randn(2, LENGTH, WIDTH)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
        outputs = module(inputs)
    weights = {f"weight {name}": weight.numpy() for name, weight in module.state_dict().items()}
    return {**weights, "inputs": inputs.numpy(), "outputs": outputs.numpy()}


def judge(folder):
    """Yield a row for each answer."""
    from keras_griffin.ops import delta_rule

    answers = np.load(folder / FILE)
    for what, keys_are_equal in WAYS.items():
        ours = delta_rule(*sequences(keys_are_equal))
        for name in ("chunk", "recurrent"):
            gap = max(_gap(part, answers[f"{what}, {name}, {i}"]) for i, part in enumerate(ours))
            yield row(CASE, f"{what}, {name}", REFERENCE, gap, LIMIT)
    mixer, inputs, outputs = _mixer(answers), answers["inputs"], answers["outputs"]
    yield row(CASE, "one pass", REFERENCE, _gap(mixer(inputs), outputs), LIMIT_OF_MODULE)
    found, state = mixer.advance(inputs[:, :PROMPT], mixer.initial_state(2))
    gaps = [_gap(found, outputs[:, :PROMPT])]
    for t in range(PROMPT, LENGTH):
        found, state = mixer.advance(inputs[:, t : t + 1], state)
        gaps.append(_gap(found, outputs[:, t : t + 1]))
    yield row(CASE, "prompt, then steps", REFERENCE, max(gaps), LIMIT_OF_MODULE)


def _mixer(answers):
    """The module's weights in our layer. Its rows of a projection are sorted by heads of keys."""
    from keras_griffin.mixers import GatedDeltaNet

    mixer = GatedDeltaNet(GROUPS, HEADS, CHANNELS, VALUES, name="mixer")
    mixer.build((None, None, WIDTH))
    theirs = {name.removeprefix("weight "): answers[name] for name in answers.files if name.startswith("weight ")}
    share = HEADS // GROUPS * VALUES

    def parts(name, *sizes):
        by_head = np.split(theirs[name].reshape(GROUPS, -1, WIDTH), np.cumsum(sizes)[:-1], axis=1)
        return [part.reshape(-1, WIDTH).T for part in by_head]

    kernels = ("query", "key", "value", "gate", "rate", "step")
    of_kernels = parts("in_proj_qkvz.weight", CHANNELS, CHANNELS, share, share)
    of_kernels += parts("in_proj_ba.weight", *[HEADS // GROUPS] * 2)
    weights = {f"{name}/kernel": kernel for name, kernel in zip(kernels, of_kernels, strict=True)} | {
        "output_projection/kernel": theirs["out_proj.weight"].T,
        "conv_kernel": theirs["conv1d.weight"][:, 0].T,
        "norm_scale": theirs["norm.weight"],
        "dynamics/log_rates": theirs["A_log"],
        "dynamics/step_bias": theirs["dt_bias"],
    }
    for weight in mixer.weights:
        weight.assign(weights[weight.path.removeprefix("mixer/")])
    return mixer


def _gap(ours, theirs):
    import keras

    return float(np.abs(keras.ops.convert_to_numpy(ours) - theirs).max())
