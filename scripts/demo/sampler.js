// Which token comes next.

/** The id that a number in [0, 1) draws from softmax(logits / temperature); at temperature 0 the likeliest. */
export function choose(logits, temperature, number) {
  const best = logits.reduce((best, logit, id) => (logit > logits[best] ? id : best), 0);
  if (temperature === 0) return best;
  const weights = Array.from(logits, (logit) => Math.exp((logit - logits[best]) / temperature));
  let left = number * weights.reduce((sum, weight) => sum + weight, 0);
  const id = weights.findIndex((weight) => (left -= weight) < 0);
  return id < 0 ? best : id;
}

/** A number in [0, 1) for each seed and step, the same however often a text was stopped: the hash lowbias32. */
export function uniform(seed, step) {
  let bits = seed + Math.imul(step, 0x9e3779b9);
  bits = Math.imul(bits ^ (bits >>> 16), 0x21f0aaad);
  bits = Math.imul(bits ^ (bits >>> 15), 0x735a2d97);
  return ((bits ^ (bits >>> 15)) >>> 0) / 2 ** 32;
}
