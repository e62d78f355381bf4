// The page: reads what is typed, continues it token by token, and shows what the state takes.

import { choose, uniform } from "./sampler.js";
import { bytesOf, makeStepper } from "./stepper.js";
import { makeDecoder, makeTokenizer } from "./tokenizer.js";

const RUNTIME = "ort.wasm.bundle.min.mjs";
const WASM = "ort-wasm-simd-threaded.wasm";
const MODEL = "model.onnx";
/** A point of a line is the median of so many tokens, or of more, so that there are no more points than that. */
const GROUP = 8;
const POINTS = 80;
/** The time shown is the median of so many tokens. */
const RECENT = 50;
/** Steps before the first token: a browser compiles code anew that is called often. */
const WARM_UP = 20;

const page = (id) => document.getElementById(id);
const text = page("text");

let tokenizer, step, names;
let isRunning = false;
// What a text can go on from: the text so far, the tokens read, the state after them, and the next token's logits.
const nothing = { text: "", read: 0 };
let typed = nothing;
let latest = nothing;
// By token: milliseconds, and the state's bytes after it.
const times = [];
const sizes = [];

async function load() {
  const start = performance.now();
  say("Loading the runtime and the model …");
  const ort = await import(`./${RUNTIME}`).catch(() => missing(RUNTIME));
  const [wasm, model] = await Promise.all([WASM, MODEL].map((name) => content(name, "arrayBuffer")));
  const facts = await content(`${MODEL}.json`, "json");
  const special = facts.tokenizer === "tokenizer.json" ? await content("special_ids.json", "json") : undefined;
  tokenizer = makeTokenizer(await content(facts.tokenizer, "json"), special);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = wasm;
  step = makeStepper(ort, await ort.InferenceSession.create(model, { executionProviders: ["wasm"] }), facts);
  names = { input: facts.inputs[0].name, output: facts.outputs[0] };
  for (let i = 0; i < WARM_UP; i++) await step({ [names.input]: [0] });
  page("bytes").textContent = bytesOf(step.state).toLocaleString("en");
  page("runtime").textContent = megabytes(wasm);
  page("model").textContent = megabytes(model);
  page("ready").textContent = `${((performance.now() - start) / 1000).toFixed(1)} s`;
  say("Ready.");
  page("go").disabled = false;
}

/** Continue the text until stopped, from the longest kept text that it begins with. */
async function run() {
  const start = [latest, typed].find((kept) => text.value.startsWith(kept.text)) ?? nothing;
  let { read, logits } = start;
  step.state = start.state ?? step.state;
  // What was kept beyond it is dropped, with its measurements.
  latest = start;
  if (start === nothing) typed = nothing;
  times.length = sizes.length = read;
  const keep = () => ({ text: text.value, read, logits, state: step.state });
  const take = async (id) => {
    const before = performance.now();
    const outputs = await step({ [names.input]: [id] }, read === 0);
    times.push(performance.now() - before);
    sizes.push(bytesOf(step.state));
    logits = outputs[names.output].data;
    read++;
  };

  const ids = tokenizer.encode(text.value.slice(start.text.length), read === 0);
  if (read + ids.length === 0) return say("Type something first.");
  let drawn = performance.now();
  for (const [i, id] of ids.entries()) {
    await take(id);
    if (performance.now() - drawn < 30) continue;
    drawn = await frame(`Reading token ${i + 1} of ${ids.length} …`);
    if (!isRunning) return say("Stopped before the end of the text was read.");
  }
  if (ids.length > 0) typed = keep();
  const from = start.read
    ? `Went on from the state kept after token ${start.read}, and read ${ids.length || "nothing"} more.`
    : `Read ${ids.length} tokens from the start.`;

  // Between two tokens of one character, too, it can be stopped and go on.
  const decoder = (ids.length === 0 && start.decoder) || makeDecoder(tokenizer);
  const seed = page("seeded").checked ? page("seed").valueAsNumber : null;
  let isOver = false;
  while (isRunning && !isOver) {
    const number = seed === null ? Math.random() : uniform(seed, read);
    const id = choose(logits, page("temperature").valueAsNumber, number);
    isOver = tokenizer.stopIds.has(id);
    if (isOver) break;
    write(decoder.push(id));
    await take(id);
    await frame(`${from} Writing …`);
  }
  if (isOver) write(decoder.flush());
  latest = { ...keep(), decoder };
  say(isOver ? `${from} The model ended the text.` : from);
}

/** Start, or stop what runs. */
async function go() {
  isRunning = !isRunning;
  if (!isRunning) return;
  page("go").textContent = "Stop";
  text.readOnly = true;
  try {
    await run();
  } catch (error) {
    fail(error);
  }
  isRunning = text.readOnly = false;
  page("go").textContent = "Continue";
  show();
}

/** Show where things are, and wait for the next frame; its time. */
function frame(sentence) {
  say(sentence);
  show();
  return new Promise(requestAnimationFrame);
}

/** Add to the end of the text, and keep the end in sight if it was. */
function write(piece) {
  const isAtEnd = text.scrollHeight - text.scrollTop - text.clientHeight < 40;
  text.setRangeText(piece, text.value.length, text.value.length, "end");
  if (isAtEnd) text.scrollTop = text.scrollHeight;
}

function show() {
  const recent = times.slice(-RECENT);
  if (recent.length) {
    page("bytes").textContent = sizes.at(-1).toLocaleString("en");
    page("time").textContent = median(recent).toFixed(1);
  }
  page("tokens").textContent = times.length.toLocaleString("en");
  if (!isRunning || times.length % GROUP === 0) {
    draw(page("bytes-line"), sizes);
    draw(page("time-line"), times);
  }
  const isLonger = text.value.length > typed.text.length && text.value.startsWith(typed.text);
  page("again").disabled = isRunning || !typed.read || !isLonger;
}

/** A line through the medians of groups, between 0 and two and a half times their median. */
function draw(svg, numbers) {
  const size = Math.max(GROUP, Math.ceil(numbers.length / POINTS));
  const medians = [];
  for (let i = 0; i < numbers.length; i += size) medians.push(median(numbers.slice(i, i + size)));
  const height = (y) => 40 - 40 * Math.min(1, y / (2.5 * median(medians)));
  const points = medians.map((y, i) => `${(100 * i) / Math.max(1, medians.length - 1)},${height(y)}`).join(" ");
  svg.querySelector("polyline").setAttribute("points", points);
  svg.querySelector("polygon").setAttribute("points", points && `0,40 ${points} 100,40`);
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
}

function megabytes(buffer) {
  return `${(buffer.byteLength / 1e6).toFixed(1)} MB`;
}

/** A file of the folder. */
async function content(name, kind) {
  const response = await fetch(name).catch(() => missing(name));
  return response.ok ? response[kind]() : missing(name);
}

function missing(name) {
  throw new Error(`${name} can't be read from the page's folder. Build it again: make demo`);
}

function say(sentence) {
  page("status").textContent = sentence;
}

function fail(error) {
  page("status").classList.add("wrong");
  say(error.message);
}

page("form").addEventListener("submit", (event) => {
  event.preventDefault();
  go();
});
page("again").addEventListener("click", () => {
  text.value = typed.text;
  go();
});
text.addEventListener("input", show);
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) page("go").click();
});
page("temperature").addEventListener("input", () => {
  page("degree").textContent = page("temperature").valueAsNumber.toFixed(2);
});
page("seeded").addEventListener("change", () => {
  page("seed").disabled = !page("seeded").checked;
});
load().catch(fail);
