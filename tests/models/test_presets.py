"""Every preset has the number of parameters that the papers, or a recount of them, give."""

import inspect
import lzma
import re
import textwrap
from pathlib import Path

import pytest

from keras_griffin.generation import TopP, bits_per_byte
from keras_griffin.layers import CGLRU, RGLRU
from keras_griffin.mixers import RecurrentBlock
from keras_griffin.models import Griffin, GriffinConfig, LanguageModel, SequenceEncoder, presets

# Non-embedding parameters in billions, with 16 gate blocks: MQA, Hawk, Griffin.
PAPER = {
    "100m": (0.080, 0.094, 0.089),
    "200m": (0.142, 0.174, 0.163),
    "400m": (0.316, 0.374, 0.355),
    "1.3b": (1.12, 1.30, 1.24),
    "3b": (2.51, 3.00, 2.83),
    "7b": (5.94, 7.17, 6.79),
}


@pytest.mark.any_backend
@pytest.mark.parametrize("size", PAPER)
def test_table_2(size):
    for family, expected in zip(("mqa", "hawk", "griffin"), PAPER[size], strict=True):
        count = presets()[f"{family}_{size}"].parameter_count(embedding=False) / 1e9
        assert abs(count - expected) < (0.001 if expected < 1 else 0.01), (family, count)  # printed digits


@pytest.mark.any_backend
def test_the_first_decays_are_those_of_the_released_code_and_in_the_papers_models_the_papers():
    config = GriffinConfig(vocabulary_size=8, width=16, num_layers=1, num_heads=1)
    made = config, RGLRU(), CGLRU(), RecurrentBlock(4), presets()["recurrentgemma_2b"]
    assert {each.decay_initializer for each in made} == {"ring"}
    assert {presets()[name].decay_initializer for name in ("griffin_400m", "hawk_7b")} == {"paper"}
    assert SequenceEncoder(16).blocks[0].mixer.decay_initializer == "paper"


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("name", "total", "body", "embedding", "recurrent", "attention"),
    [("recurrentgemma_2b", 2.683, 2.028, 0.655, 18, 8), ("recurrentgemma_9b", 8.580, 7.531, 1.049, 26, 12)],
)
def test_recurrentgemma(name, total, body, embedding, recurrent, attention):
    config = presets()[name]
    counts = config.parameter_count() / 1e9, config.parameter_count(embedding=False) / 1e9
    assert [round(count, 3) for count in (*counts, counts[0] - counts[1])] == [total, body, embedding]
    assert config.mixer_names.count("recurrent") == recurrent
    assert config.mixer_names.count("local_mqa") == attention


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("name", "width", "num_layers", "total"),
    [
        # As counted in the released checkpoints.
        ("mamba_130m", 768, 24, 129_135_360),
        ("mamba_370m", 1024, 48, 371_516_416),
        ("mamba_790m", 1536, 48, 793_204_224),
        ("mamba_1.4b", 2048, 48, 1_372_178_432),
        ("mamba_2.8b", 2560, 64, 2_768_345_600),
        # A layer of the authors is two here.
        ("rwkv4_169m", 768, 2 * 12, 169_342_464),
        ("rwkv4_430m", 1024, 2 * 24, 430_397_440),
        ("rwkv4_1.5b", 2048, 2 * 24, 1_515_106_304),
        ("rwkv4_3b", 2560, 2 * 32, 2_984_627_200),
        ("rwkv4_7b", 4096, 2 * 32, 7_392_649_216),
        ("rwkv4_14b", 5120, 2 * 40, 14_148_597_760),
    ],
)
def test_mamba_and_rwkv4(name, width, num_layers, total):
    config = presets()[name]
    assert (config.width, config.num_layers, config.parameter_count()) == (width, num_layers, total)


@pytest.mark.any_backend
def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ValueError, match=r"from_preset: a preset must be a name, a path or .* Got None\."):
        Griffin.from_preset(None)
    with pytest.raises(ValueError, match=r"from_preset: .* nearest are griffin_400m, .* Got 'grifin_400m'\."):
        Griffin.from_preset("grifin_400m")
    # The small ones that begin with it.
    with pytest.raises(ValueError, match=r"nearest are griffin_100m, griffin_200m, griffin_400m\. Got 'griffin'\."):
        Griffin.from_preset("griffin")
    with pytest.raises(ValueError, match=r"nearest are those of keras_griffin\.models\.presets\(\)\. Got 'xyz'\."):
        Griffin.from_preset("xyz")


@pytest.mark.any_backend
def test_a_name_on_the_hub_is_told_with_its_address():
    with pytest.raises(
        ValueError, match=r"does not exist; on the Hugging Face Hub it is 'hf://google/recurrentgemma-2b'"
    ):
        Griffin.from_preset("google/recurrentgemma-2b")
    with pytest.raises(ValueError, match=r"Got '\.\./a/b', which does not exist\.$"):
        Griffin.from_preset("../a/b")


@pytest.mark.any_backend
def test_from_preset_takes_overrides():
    small = {"width": 32, "recurrence_width": 32, "num_heads": 2, "vocabulary_size": 7}
    model = Griffin.from_preset("griffin_100m", num_layers=3, window=8, **small)
    assert model.config.num_layers == 3 and model.config.window == 8
    assert model.count_params() == model.config.parameter_count()


def test_the_trained_model_in_the_package_writes_the_readmes_python_on_every_backend():
    model = LanguageModel.from_preset("python_tiny")
    assert model.config == presets()["python_tiny"] and model.count_params() == model.config.parameter_count()
    assert model.quantized_to is None and model.dtype_policy.name == "float32"
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
    prompt, seed = re.search(r'--model python_tiny --prompt "(.*)" --seed (\d+)', readme).groups()
    (sample,) = re.findall(r"answer begins\n\n```\n(.*?)\n```", readme, re.DOTALL)
    assert model.generate(prompt, 90, sampler=TopP(0.95, 0.7), seed=int(seed)).startswith(sample)
    text = inspect.getsource(textwrap)[:4000]
    assert bits_per_byte(model, text) < 8 * len(lzma.compress(text.encode())) / len(text.encode())
    with pytest.raises(ValueError, match=r"an override must keep the name and shape of every weight\. Got width\."):
        LanguageModel.from_preset("python_tiny", width=64)
