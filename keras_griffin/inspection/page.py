"""An HTML page about a model's memory while it reads a text."""

import base64
import html
import io
import warnings
from collections.abc import Iterator

import keras

from keras_griffin import backends
from keras_griffin.inspection.attention_map import attention_map
from keras_griffin.inspection.influence import influence
from keras_griffin.inspection.plots import (
    Axes,
    plot_attention,
    plot_decode_cost,
    plot_gate,
    plot_half_lives,
    plot_influence,
    plot_state_norm,
)
from keras_griffin.layers.multi_query_attention import MultiQueryAttention

#: Channels recorded for each layer, tokens shown in gates and attention maps, and tokens of the gradient.
CHANNELS, SHOWN, LONGEST = 128, 64, 2048
_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 56rem; margin: 0 auto; padding: 1rem; }
figure { margin: 2rem 0; } img { max-width: 100%; height: auto; background: white; }
figcaption { font-size: .9rem; } pre { white-space: pre-wrap; } h1, pre { overflow-wrap: anywhere; }
""".strip()


def inspection_page(model: keras.Model, text: str, title: str | None = None) -> str:
    """Read a text with a model, and plot how it remembers.

    Gates and attention are shown over the last 64 tokens, and the influence on the prediction over the last 2,048, on a
    backend with gradients.

    Args:
        model: a `LanguageModel` with a tokenizer.
        text: the text to read.
        title: the page's title; None for the model's name.

    Returns:
        One HTML page with embedded images.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the text is empty, or the model has no tokenizer.
    """
    title = html.escape(model.name if title is None else title)
    trace = model.trace(text, channels=CHANNELS)
    config, count = model.config, len(trace.token_ids)
    facts = (
        f"{config.num_layers} layers ({', '.join(dict.fromkeys(config.mixer_names))}), width {config.width}, "
        f"{config.parameter_count():,} parameters; {count:,} token{'s' if count > 1 else ''} read on "
        f"{keras.backend.backend()}."
    )
    parts = [f"<h1>{title}</h1>", f"<p>{html.escape(facts)}</p>", f"<pre>{html.escape(_start_of(text))}</pre>"]
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
        yield plot_state_norm(trace), "The root mean square of each recurrence's state, over the text."
        for gate, meaning in {
            "recurrence_gate": "An open recurrence gate forgets; a closed one keeps the state and blocks the input.",
            "input_gate": "An open input gate lets the token in.",
        }.items():
            for layer in dict.fromkeys((next(iter(trace.layers)), list(trace.layers)[-1])):
                yield plot_gate(_tail(trace), layer, gate, words), f"{meaning} {layer}."
    places = [place for place, block in enumerate(model.blocks) if isinstance(block.mixer, MultiQueryAttention)]
    for place in places[:1]:
        yield (
            plot_attention(attention_map(model, last, place), words),
            f"The attention weights of block_{place} within its window, averaged over heads, if the text began at the "
            "first token shown.",
        )
    if keras.backend.backend() in backends.WITH_GRADIENTS:
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
            "The cost of one row on a TPU v5e in bfloat16, predicted by equation 5 of the paper, and of the same "
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


def _figure(axes, caption):
    picture = io.BytesIO()
    with warnings.catch_warnings():
        # A character that the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        axes.figure.savefig(picture, format="png", dpi=130)
    data = base64.b64encode(picture.getvalue()).decode()
    caption = html.escape(caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
    )


def _start_of(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[:most]} …"
