// Runs a step or a chunk that keras_griffin.export wrote as ONNX, in a browser or in Node, by ONNX Runtime.
//
//   const session = await ort.InferenceSession.create("model.onnx");
//   const facts = await (await fetch("model.onnx.json")).json();
//   const step = makeStepper(ort, session, facts);
//   const { logits } = await step({ token_ids: [7] });

/**
 * A function `(inputs, reset) -> outputs` that keeps the model's state from call to call.
 *
 * `inputs` has numbers by the names of the model's inputs, flat, in the shapes of the facts; `reset`, one boolean for
 * all rows or an array of one for each, forgets a row's past before the step. `step.state` is the state, tensors by
 * name. It is a value, which no step changes: keep it, and assign it to go on from there again.
 *
 * @param ort the runtime's module, such as onnxruntime-web
 * @param session an InferenceSession of PATH
 * @param facts the content of PATH.json
 * @param batch the number of rows
 */
export function makeStepper(ort, session, facts, batch = 1) {
  // The free sizes. A state that grows, as global attention's does, has no past at first.
  const sizes = { batch, past: 0 };
  const shapeOf = (port) => port.shape.map((size) => sizes[size] ?? size);
  const tensor = (port, numbers) => new ort.Tensor(port.dtype, numbers, shapeOf(port));
  const initial = (port) => Array(shapeOf(port).reduce((count, size) => count * size, 1)).fill(port.initial);

  async function step(inputs, reset = false) {
    const given = { reset: Array.isArray(reset) ? reset : Array(batch).fill(reset), ...inputs };
    const feeds = { ...step.state };
    for (const port of facts.inputs) feeds[port.name] = tensor(port, given[port.name]);
    const results = await session.run(feeds);
    step.state = Object.fromEntries(facts.state.map((port) => [port.past, results[port.present]]));
    return Object.fromEntries(facts.outputs.map((name) => [name, results[name]]));
  }
  step.state = Object.fromEntries(facts.state.map((port) => [port.past, tensor(port, initial(port))]));
  return step;
}

/** How many bytes a state takes. */
export function bytesOf(state) {
  return Object.values(state).reduce((sum, tensor) => sum + tensor.data.byteLength, 0);
}
