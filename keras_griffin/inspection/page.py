"""An HTML page about a model's memory while it reads a text."""

import base64
import html
import warnings
from collections.abc import Iterator

import keras
import numpy as np

from keras_griffin import backends
from keras_griffin.inspection.attention_map import attention_map, places_of_attention
from keras_griffin.inspection.decode_measurement import measure_decoding
from keras_griffin.inspection.influence import influence
from keras_griffin.inspection.plots import (
    COLOURS,
    Axes,
    plot_attention,
    plot_decode_cost,
    plot_gate,
    plot_half_lives,
    plot_influence,
    plot_state_norm,
)
from keras_griffin.inspection.svg import svg_of
from keras_griffin.tokenizers.incremental_decoder import IncrementalDecoder

#: Channels recorded for each layer, tokens shown in gates and attention maps, and tokens of the gradient.
CHANNELS, SHOWN, LONGEST = 128, 64, 2048
#: The bits at which a character has the full colour.
SURPRISING = 8
_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 56rem; margin: 0 auto; padding: 1rem; }
figure { margin: 2rem 0; } img { max-width: 100%; height: auto; }
figcaption { font-size: .9rem; } pre { white-space: pre-wrap; } h1, pre { overflow-wrap: anywhere; }
""".strip()


def inspection_page(model: keras.Model, text: str, title: str | None = None) -> str:
    """HTML with embedded images: a text's characters, coloured by their surprise, and how the model remembers it."""
    title = html.escape(model.name if title is None else title)
    trace = model.trace(text, channels=CHANNELS)
    config, count = model.config, len(trace.token_ids)
    measured = measure_decoding(model, [min(count, LONGEST)], steps=8, runs=3)
    facts = (
        f"{config.num_layers} layers ({', '.join(dict.fromkeys(config.mixer_names))}), width {config.width}, "
        f"{config.parameter_count():,} parameters; {count:,} token{'s' if count > 1 else ''} read with "
        f"{keras.backend.backend()} on the {backends.active().device_kind().upper()} of this machine, where one more "
        f"takes {1e3 * measured.seconds_per_step[0]:,.2f} ms, from a state of {measured.state_bytes[0]:,} bytes."
    )
    parts = [f"<h1>{title}</h1>", f"<p>{html.escape(facts)}</p>", *_surprise(model, trace.token_ids[:LONGEST])]
    parts += [_figure(axes, caption) for axes, caption in pictures_of(model, trace)]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    head = f"<head>{head}<style>{_STYLE}</style></head>"
    return f'<!doctype html><html lang="en">{head}<body>{"".join(parts)}</body></html>\n'


def pictures_of(model, trace) -> Iterator[tuple[Axes, str]]:
    """Each plot with its caption."""
    last = trace.token_ids[-SHOWN:]
    words = [model.tokenizer.decode([token]) for token in last]
    if trace.layers:
        yield (
            plot_half_lives(trace),
            "Each line is a recurrence, with its channels sorted by half-life: the number of tokens after which a "
            "channel has forgotten half of its contents. The dotted line is the length of the text.",
        )
        yield (
            plot_state_norm(trace),
            "How full each recurrence is: the root mean square of its state, over the text. A drop is where much was "
            "forgotten.",
        )
        for gate, meaning in {
            "recurrence_gate": "An open recurrence gate forgets; a closed one keeps the state and blocks the input.",
            "input_gate": "An open input gate lets the token in.",
        }.items():
            for layer in dict.fromkeys((next(iter(trace.layers)), list(trace.layers)[-1])):
                yield plot_gate(_tail(trace), layer, gate, words), f"{meaning} {layer}."
    for place in places_of_attention(model)[:1]:
        yield (
            plot_attention(attention_map(model, last, place), words),
            f"The attention weights of block_{place} within its window, averaged over heads, if the text began at the "
            "first token shown.",
        )
    if backends.has_gradients():
        recent = trace.token_ids[-LONGEST:]
        labels = words if len(recent) <= SHOWN else None
        yield (
            plot_influence(influence(model, recent), labels),
            "How much each token still affects the logit of the most likely next token.",
        )
    transformer = model.config.replace(block_pattern=("global_mqa",))
    for quantity in ("seconds_per_step", "cache_bytes"):
        yield (
            plot_decode_cost({"this model": model.config, "with global attention": transformer}, quantity=quantity),
            "Not measured here: one row on a TPU v5e in bfloat16, as equation 5 of the paper predicts it, and the same "
            "stack with global attention in each block.",
        )


def _tail(trace):
    """The trace of the last tokens, which gate plots show."""
    layers = {
        path: type(layer)(
            path, layer.channels, {name: x[-SHOWN:] for name, x in layer.values.items()}, layer.state_norm[-SHOWN:]
        )
        for path, layer in trace.layers.items()
    }
    return type(trace)(trace.token_ids[-SHOWN:], layers)


def _surprise(model, token_ids):
    """The text, each character in a shade of its bits, and what that means; the first token has none."""
    bits = [0.0, *(-model.score(token_ids[None])[0, 1:] / np.log(2))]
    decoder, pieces, pending = IncrementalDecoder(model.tokenizer), [], 0.0
    for token, each in zip(token_ids.tolist(), bits, strict=True):
        # The bytes of one character count together.
        pending += each
        if piece := decoder.push(token):
            pieces.append(_shaded(piece, pending))
            pending = 0.0
    scale = "".join(_shaded(f" {number} ", number) for number in range(0, SURPRISING + 1, 2))
    meaning = (
        "The darker, the more a character surprised the model: its bits, -log2 of the probability that the model gave "
        f"it. In the mean {np.mean(bits[1:] or [0.0]):.2f} bits a token. Scale:"
    )
    return [f"<p>{html.escape(meaning)}{scale}</p>", f"<pre>{''.join(pieces)}{html.escape(decoder.flush())}</pre>"]


def _shaded(text, bits):
    opacity = round(255 * min(bits / SURPRISING, 1.0) * 0.7)
    return f'<span style="background:{COLOURS[1]}{opacity:02x}" title="{bits:.1f} bits">{html.escape(text)}</span>'


def _figure(axes, caption):
    with warnings.catch_warnings():
        # A character that the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        data = base64.b64encode(svg_of(axes.figure).encode()).decode()
    caption = html.escape(caption)
    image = f'<img alt="{caption}" src="data:image/svg+xml;base64,{data}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
