// The tokenizers of a keras_griffin model: byte-level byte-pair encoding, as train_bpe makes it, and bytes.

/** Words as GPT-2 splits them. JavaScript's \s is not Unicode's white space. */
const WORD =
  /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
const UTF8 = new TextEncoder();
/** The letter that stands for each byte in the vocabulary: visible Latin-1 as itself, other bytes from 256 on. */
const LETTERS = [];
for (let byte = 0, hidden = 256; byte < 256; byte++) {
  const isVisible = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  LETTERS.push(String.fromCharCode(isVisible ? byte : hidden++));
}

/**
 * A tokenizer: `encode(text, isFirst) -> ids`, `bytes(id) -> numbers`, and `stopIds`, a Set.
 *
 * @param content that of `tokenizer.json` or `byte_tokenizer.json`
 * @param special that of `special_ids.json`, beside the former: `start_id`, or null, and `stop_ids`
 */
export function makeTokenizer(content, special = { start_id: null, stop_ids: [] }) {
  if (content.tokenizer === "bytes")
    return { encode: (text) => [...UTF8.encode(text)], bytes: (id) => [id], stopIds: new Set() };
  check(content);
  const { vocab, merges } = content.model;
  const names = Object.fromEntries(Object.entries(vocab).map(([name, id]) => [id, name]));
  const ranks = new Map(merges.map((pair, rank) => [typeof pair === "string" ? pair : pair.join(" "), rank]));
  const silent = new Set([special.start_id, ...special.stop_ids]);
  const byteOf = new Map(LETTERS.map((letter, byte) => [letter, byte]));

  function encode(text, isFirst = true) {
    const words = text.match(WORD) ?? [];
    const ids = words.flatMap((word) =>
      merged(
        [...UTF8.encode(word)].map((byte) => LETTERS[byte]),
        ranks,
      ),
    );
    return [...(isFirst && special.start_id !== null ? [special.start_id] : []), ...ids.map((name) => vocab[name])];
  }
  const bytes = (id) => (silent.has(id) ? [] : [...names[id]].map((letter) => byteOf.get(letter)));
  return { encode, bytes, stopIds: new Set(special.stop_ids) };
}

/** The text of a stream of ids: `push(id)` is the text that a token completes, `flush()` what was left incomplete. */
export function makeDecoder(tokenizer) {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const push = (id) => decoder.decode(Uint8Array.from(tokenizer.bytes(id)), { stream: true });
  return { push, flush: () => decoder.decode() };
}

/** A word's parts after all merges, the first learned first. */
function merged(parts, ranks) {
  for (;;) {
    let at = -1;
    let least = Infinity;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
      if (rank < least) [at, least] = [i, rank];
    }
    if (at < 0) return parts;
    parts.splice(at, 2, parts[at] + parts[at + 1]);
  }
}

/** Refuse a tokenizer of Hugging Face that needs more than this file has. */
function check({ model, normalizer, pre_tokenizer: words, post_processor: post, added_tokens: added }) {
  const isPlain = !normalizer && !post && !added?.length && !model?.ignore_merges;
  const isGpt2 = words?.type === "ByteLevel" && words.use_regex && !words.add_prefix_space;
  if (model?.type !== "BPE" || !isPlain || !isGpt2)
    throw new Error("the tokenizer must be bytes, or byte-level BPE as keras_griffin.tokenizers.train_bpe makes it");
}
