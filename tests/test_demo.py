"""The page of `make demo`: its tokenizer, sampler and stepper are those of Python, and it continues what is typed."""

import contextlib
import functools
import http.server
import json
import re
import shutil
import subprocess
import threading

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch exports the model", allow_module_level=True)

from keras_griffin.generation.samplers import Greedy, Temperature
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.models.presets import TRAINED
from keras_griffin.tokenizers import ByteTokenizer, load_tokenizer
from keras_griffin.tokenizers.incremental_decoder import IncrementalDecoder
from scripts import demo
from scripts.browse_site import DESK, PHONE, Silent, chromium, elsewhere

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="needs Node.js, which no package of Python brings")
#: What npm says where it reaches no registry. Where it fails otherwise, the test fails.
OFFLINE = re.compile("ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|ETIMEDOUT|ENOTCACHED")
#: What scripts import from the page's files.
IMPORTS = {
    "sampler": "choose, uniform",
    "stepper": "bytesOf, makeStepper",
    "tokenizer": "makeDecoder, makeTokenizer",
}
#: What Unicode, Python and JavaScript take for white space, which not all agree on.
WHITE = "\t\n\v\f\r\x1c\x1f \x85\xa0\u1680\u180e\u2003\u200b\u2028\u202f\u3000\ufeff"
TEXTS = [
    "",
    " ",
    "\t\tif x:\r\n\n\n    pass   \n ",
    "def f(x):\n    return x  # it's, they'll, I'd, 'SHOUT'S\n",
    "né e\u0301 本語 😀👩‍👧 ½² ٣",
    "!".join(WHITE),
    f"{WHITE}a{WHITE[::-1]}",
    "\ufeff<|endoftext|>\0\x7f\xad ¡ÿ",
    "aaaaaaa" * 9 + "_" * 50 + "123456",
]
PROMPT = "def find(path):\n    '''é'''"


def node(script, **given):
    """What the body of a JavaScript function of `given` returns."""
    source = "\n".join(
        [
            'import fs from "node:fs";',
            *(f'import {{ {names} }} from "{(demo.PAGE / name).as_uri()}.js";' for name, names in IMPORTS.items()),
            'const given = JSON.parse(fs.readFileSync(0, "utf-8"));',
            f"process.stdout.write(JSON.stringify(await (async () => {{ {script} }})()));",
        ]
    )
    command = [NODE, "--input-type=module", "--eval", source]
    run = subprocess.run(command, input=json.dumps(given), capture_output=True, encoding="utf-8")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def tokenizer_of_python_tiny():
    pytest.importorskip("tokenizers", reason="needs the extra tokenizers")
    return load_tokenizer(TRAINED["python_tiny"])


def files_of(tokenizer):
    return [json.loads(content) for content in tokenizer.contents().values()]


def tokenizer_of_words(folder):
    """One whose ids tell where words end: it joins "!" and the first byte of white space, if they are in one word."""
    tokenizer = tokenizer_of_python_tiny()
    content, _ = files_of(tokenizer)
    vocabulary, merges = content["model"]["vocab"], content["model"]["merges"]
    names = {token_id: name for name, token_id in vocabulary.items()}
    for name in sorted({names[tokenizer.encode(f"!{character}")[1]] for character in WHITE}):
        vocabulary[f"!{name}"] = len(vocabulary)
        merges.append(["!", name])
    (folder / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    return load_tokenizer(folder)


@needs_node
@pytest.mark.parametrize("kind", ["bytes", "python_tiny", "with a start", "words"])
def test_the_tokenizer_is_that_of_python(kind, tmp_path):
    tokenizer = ByteTokenizer() if kind == "bytes" else tokenizer_of_python_tiny()
    if kind == "words":
        tokenizer = tokenizer_of_words(tmp_path)
    if kind == "with a start":
        tokenizer._set_special_ids(start_id=0, stop_ids=[0])
    # The last is mostly no UTF-8.
    streams = [*map(tokenizer.encode, TEXTS), np.random.default_rng(0).permutation(256).tolist()]
    script = """
        const tokenizer = makeTokenizer(...given.files);
        const ids = given.texts.map((text) => [tokenizer.encode(text), tokenizer.encode(text, false)]);
        const pieces = given.streams.map((ids) => {
          const decoder = makeDecoder(tokenizer);
          return [...ids.map(decoder.push), decoder.flush()];
        });
        return { ids, pieces, stops: [...tokenizer.stopIds] };
    """
    found = node(script, files=files_of(tokenizer), texts=TEXTS, streams=streams)
    assert found["ids"] == [[tokenizer.encode(text), tokenizer.encode(text, start=False)] for text in TEXTS]
    assert found["stops"] == list(tokenizer.stop_ids)
    for ids, pieces in zip(streams, found["pieces"], strict=True):
        decoder = IncrementalDecoder(tokenizer)
        assert pieces == [*map(decoder.push, ids), decoder.flush()]


@needs_node
def test_other_tokenizers_are_refused():
    content, special = files_of(tokenizer_of_python_tiny())
    words = content["pre_tokenizer"]
    others = [
        {"normalizer": {"type": "NFC"}},
        {"added_tokens": [{"id": 0, "content": "<|endoftext|>"}]},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {**words, "add_prefix_space": True}},
        {"model": {**content["model"], "type": "WordPiece"}},
    ]
    script = """
        return given.contents.map((content) => {
          try { makeTokenizer(content, given.special); } catch (error) { return error.message; }
        });
    """
    *refused, taken = node(script, contents=[*({**content, **other} for other in others), content], special=special)
    assert all("must be bytes, or byte-level BPE" in message for message in refused) and taken is None


@needs_node
def test_the_sampler_is_that_of_python():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(200, 50), scale=3).astype("float32")
    logits[0] = 1
    numbers = generator.random(200)
    numbers[1] = 0
    script = """
        const chosen = [0, 0.3, 1].map((degree) =>
          given.logits.map((row, i) => choose(Float32Array.from(row), degree, given.numbers[i])));
        const drawn = [0, 1, 2 ** 32 - 1].map((seed) => Array.from({ length: 4000 }, (_, i) => uniform(seed, i)));
        return { chosen, drawn, last: choose(Float32Array.from([0, 0]), 1, 1) };
    """
    found = node(script, logits=logits.tolist(), numbers=numbers.tolist())
    for sampler, chosen in zip([Greedy(), Temperature(0.3), Temperature(1.0)], found["chosen"], strict=True):
        wanted = keras.ops.convert_to_numpy(sampler(logits, numbers.astype("float32")))
        np.testing.assert_array_equal(chosen, wanted)
    # A sum's rounding may leave nothing to select.
    assert found["last"] == 0
    drawn = np.array(found["drawn"])
    assert drawn.min() >= 0 and drawn.max() < 1
    # Uniform within four standard errors, in each seed, and from one step and one seed to the next.
    counts = np.stack([np.histogram(row, 10, (0, 1))[0] for row in drawn])
    assert abs(counts - 400).max() < 4 * 400**0.5
    pairs = [(row[:-1], row[1:]) for row in drawn] + [(drawn[0], drawn[1]), (drawn[0], drawn[2])]
    assert max(abs(np.corrcoef(*pair)[0, 1]) for pair in pairs) < 4 / 4000**0.5


def test_a_machine_without_npm_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="npm, which comes with Node.js, must be installed"):
        demo.install_runtime(tmp_path)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = Griffin(
        GriffinConfig(
            vocabulary_size=1024,
            width=16,
            num_layers=2,
            num_heads=2,
            window=8,
            block_pattern=("recurrent", "local_mqa"),
        )
    )
    model.tokenizer = tokenizer_of_python_tiny()
    return model


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package, reason="needs the extra export")
    if shutil.which("npm") is None:
        pytest.skip("needs npm, which comes with Node.js")
    folder = tmp_path_factory.mktemp("page") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("npm_config_fetch_retries", "0")
        try:
            demo.build(model, "a & b", folder)
        except RuntimeError as error:
            if OFFLINE.search(str(error)):
                pytest.skip(f"needs onnxruntime-web, and npm reaches no registry: {error}")
            raise
    return folder


@pytest.mark.slow
def test_the_folder_has_what_the_page_names(folder):
    page = (folder / "index.html").read_text("utf-8")
    script = (folder / "demo.js").read_text("utf-8")
    assert "<h1>a &amp; b</h1>" in page and "{model}" not in page
    named = {*re.findall(r'(?:src|href)="([^"]+)"', page), *re.findall(r'"(?:\./)?([\w.-]+\.\w+)"', script)}
    written = {file.name for file in folder.iterdir()}
    assert {"model.onnx", "stepper.js", *demo.RUNTIME} <= named
    assert written == named | {"index.html", "model.onnx.json"}


@needs_node
@pytest.mark.slow
def test_the_stepper_gives_what_whole_rows_give(model, folder):
    token_ids = np.random.default_rng(0).integers(0, 1024, (2, 20))
    reset, kept = 5, 12
    script = """
        const ort = await import(given.runtime);
        Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: fs.readFileSync(given.wasm) });
        const session = await ort.InferenceSession.create(fs.readFileSync(given.model));
        const step = makeStepper(ort, session, JSON.parse(fs.readFileSync(`${given.model}.json`)), 2);
        const bytes = [bytesOf(step.state)];
        const steps = async (from) => {
          const rows = [];
          for (let t = from; t < given.ids.length; t++) {
            if (t === given.kept) state = step.state;
            const { logits } = await step({ token_ids: given.ids[t] }, t === given.reset && [false, true]);
            rows.push([...logits.data]);
            bytes.push(bytesOf(step.state));
          }
          return rows;
        };
        let state;
        const logits = await steps(0);
        step.state = state;
        const again = await steps(given.kept);
        await step({ token_ids: given.ids[0] }, true);
        const { logits: anew } = await step({ token_ids: given.ids[1] });
        return { logits, again, anew: [...anew.data], bytes };
    """
    paths = {"runtime": (folder / demo.RUNTIME[0]).as_uri(), "wasm": str(folder / demo.RUNTIME[1])}
    paths["model"] = str(folder / "model.onnx")
    found = node(script, **paths, ids=token_ids.T.tolist(), reset=reset, kept=kept)
    whole = keras.ops.convert_to_numpy(model(token_ids))
    second = keras.ops.convert_to_numpy(model(token_ids[1:, reset:]))
    wanted = np.stack([whole[0], np.concatenate([whole[1, :reset], second[0]])], axis=1)
    logits = np.reshape(found["logits"], wanted.shape)
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-5)
    assert found["again"] == found["logits"][kept:]
    np.testing.assert_allclose(
        np.reshape(found["anew"], (2, -1)), logits[1] * [[1], [0]] + whole[:, 1] * [[0], [1]], atol=1e-5
    )
    assert set(found["bytes"]) == {2 * state_bytes(folder)}


def state_bytes(folder):
    """Of one row, by the facts beside the model."""
    facts = json.loads((folder / "model.onnx.json").read_text("utf-8"))
    return sum(np.empty(port["shape"][1:], port["dtype"]).nbytes for port in facts["state"])


@contextlib.contextmanager
def opened(folder):
    """A tab with the page as a server has it; and its faults, a list that grows."""
    from playwright.sync_api import sync_playwright

    handler = functools.partial(Silent, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": DESK[0], "height": DESK[1]})
        faults = []
        tab.on("console", lambda message: message.type in ("error", "warning") and faults.append(message.text))
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("request", lambda request: faults.extend(elsewhere(request.url, address)))
        tab.goto(f"{address}/index.html")
        yield tab, faults
        browser.close()
        server.shutdown()


needs_chromium = pytest.mark.skipif(chromium() is None, reason="needs Chromium, which no package of Python brings")


def proceed(tab, button="#go", tokens=12):
    """Press a button, wait until so many tokens are there, and stop; the text, and how many there are."""
    from playwright.sync_api import expect

    tab.click(button)
    while int(tab.inner_text("#tokens")) < tokens and tab.inner_text("#go") == "Stop":
        tab.wait_for_timeout(20)
    if tab.inner_text("#go") == "Stop":
        tab.click("#go")
    expect(tab.locator("#go")).to_have_text("Continue")
    return tab.input_value("#text"), int(tab.inner_text("#tokens"))


@needs_chromium
@pytest.mark.slow
def test_the_page_continues_what_is_typed(model, folder):
    """At temperature 0 exactly as Python, from the state that it keeps; and with a seed alike each time."""
    pytest.importorskip("playwright", reason="needs the extra docs")
    encode = model.tokenizer.encode

    def shown(ids):
        """What can be shown of ids: no character that is incomplete at their end."""
        return "".join(map(IncrementalDecoder(model.tokenizer).push, ids))

    def continued(ids, length):
        return model.generate([ids], length - len(ids))[0].tolist()

    with opened(folder) as (tab, faults):
        tab.wait_for_selector("#go:enabled")
        sizes = {tab.inner_text("#bytes")}
        tab.fill("#temperature", "0")
        tab.fill("#text", PROMPT)
        text, length = proceed(tab, tokens=30)
        ids = continued(encode(PROMPT), length)
        assert length >= 30 and text == shown(ids) and tab.inner_text("#degree") == "0.00"
        sizes.add(tab.inner_text("#bytes"))

        tab.fill("#text", f"{text}\treturn")
        more, longer = proceed(tab, tokens=length + 20)
        added = encode("\treturn")
        assert more == text + shown(continued(ids + added, longer)[length:])
        assert f"kept after token {length}, and read {len(added)} more" in tab.inner_text("#status")
        sizes.add(tab.inner_text("#bytes"))
        assert sizes == {f"{state_bytes(folder):,}"} and re.fullmatch(r"\d+\.\d", tab.inner_text("#time"))

        tab.fill("#temperature", "1")
        tab.check("#seeded")
        halved, _ = proceed(tab, "#again", tokens=length + 15)
        halved, _ = proceed(tab, tokens=length + 30)
        other, _ = proceed(tab, "#again", tokens=length + 45)
        assert "read nothing more" in tab.inner_text("#status")
        assert more != halved and len(halved) > len(text) + 9 and other.startswith(halved)

        tab.fill("#temperature", "0")
        tab.fill("#text", PROMPT[1:])
        text, length = proceed(tab, tokens=30)
        assert text == shown(continued(encode(PROMPT[1:]), length))
        assert f"Read {len(encode(PROMPT[1:]))} tokens from the start" in tab.inner_text("#status")

        tab.fill("#text", "")
        tab.click("#go")
        assert tab.inner_text("#status") == "Type something first."
        assert tab.evaluate("document.documentElement.scrollWidth") <= DESK[0]

        # As if the third of the likeliest tokens were a stop.
        start = encode(PROMPT)
        special = {"start_id": None, "stop_ids": continued(start, len(start) + 3)[-1:]}
        tab.route("**/special_ids.json", lambda route: route.fulfill(json=special))
        tab.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        tab.reload()
        tab.wait_for_selector("#go:enabled")
        tab.fill("#temperature", "0")
        tab.fill("#text", PROMPT)
        text, length = proceed(tab, tokens=1000)
        stop = continued(start, len(start) + 3).index(special["stop_ids"][0], len(start))
        assert length == stop and text == shown(continued(start, stop))
        assert tab.inner_text("#status").endswith("The model ended the text.")
        assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
        assert not faults


@needs_chromium
@pytest.mark.slow
def test_the_page_says_what_is_wrong(folder):
    pytest.importorskip("playwright", reason="needs the extra docs")
    with opened(folder) as (tab, _):
        for name in ("model.onnx", "tokenizer.json", *demo.RUNTIME):
            tab.route(f"**/{name}", lambda route: route.fulfill(status=404))
            tab.reload()
            tab.wait_for_selector("#status.wrong")
            wanted = f"{name} can't be read from the page's folder. Build it again: make demo"
            assert tab.inner_text("#status") == wanted and tab.is_disabled("#go")
            tab.unroute(f"**/{name}")
        tab.goto((folder / "index.html").as_uri())
        tab.wait_for_selector("text=A browser loads none from a file", state="visible")
