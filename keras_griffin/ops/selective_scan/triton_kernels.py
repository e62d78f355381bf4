"""The Triton kernels of `selective_scan`; see `triton_passes.py`.

A program walks through time on `BLOCK` channels of one row of the batch. Its state is a tile `(NUMBERS, BLOCK)` of
registers, where `NUMBERS` is N rounded up to a power of two: what is beyond N enters as zero and stays so. Arrays of
states are `(..., N, D)`, those of sequences `(B T, D)` or `(B T, N)`.
"""

import triton
from triton import language as tl


@triton.jit
def place(width: tl.constexpr, count: tl.constexpr, NUMBERS: tl.constexpr, BLOCK: tl.constexpr):
    """A program's row of the batch and block of channels; its channels, numbers, and places of its tile in `(N, D)`.

    Each of these three is followed by which of them exist. The row is int64, as an array may be that large.
    """
    program = tl.program_id(0)
    blocks = tl.cdiv(width, BLOCK)
    batch, block = (program // blocks).to(tl.int64), program % blocks
    channels, numbers = block * BLOCK + tl.arange(0, BLOCK), tl.arange(0, NUMBERS)
    inside, within = channels < width, numbers < count
    tile, tile_inside = numbers[:, None] * width + channels[None, :], within[:, None] & inside[None, :]
    return batch, block, channels, inside, numbers, within, tile, tile_inside


@triton.jit
def load(array, offset, where):
    """Numbers in float32; zero where nothing is loaded."""
    return tl.load(array + offset, where, other=0.0).to(tl.float32)


@triton.jit
def past(reset, row, state):
    """The state before a step, or the gradient for it: zero if the step forgets."""
    if reset is None:
        return state
    else:
        return tl.where(tl.load(reset + row) == 0, state, 0.0)


@triton.jit
def selective_scan(
    inputs,
    sizes,
    rates,
    input_weights,
    output_weights,
    initial_state,
    reset,
    length,
    chunks,
    outputs,
    final_state,
    starts,
    width: tl.constexpr,
    count: tl.constexpr,
    CHUNK: tl.constexpr,
    NUMBERS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Every output, the state before each chunk, and the last state."""
    batch, _, channels, inside, numbers, within, tile, tile_inside = place(width, count, NUMBERS, BLOCK)
    rate = load(rates, tile, tile_inside)
    state = load(initial_state, batch * count * width + tile, tile_inside)
    for chunk in range(chunks):
        tl.store(starts + (batch * chunks + chunk) * count * width + tile, state, tile_inside)
        for t in range(chunk * CHUNK, tl.minimum((chunk + 1) * CHUNK, length)):
            row = batch * length + t
            u, s = load(inputs, row * width + channels, inside), load(sizes, row * width + channels, inside)
            b = load(input_weights, row * count + numbers, within)
            c = load(output_weights, row * count + numbers, within)
            state = tl.exp(s[None, :] * rate) * past(reset, row, state) + (s * u)[None, :] * b[:, None]
            tl.store(outputs + row * width + channels, tl.sum(state * c[:, None], 0), inside)
    tl.store(final_state + batch * count * width + tile, state, tile_inside)


@triton.jit
def selective_scan_gradient(
    inputs,
    sizes,
    rates,
    input_weights,
    output_weights,
    starts,
    reset,
    outputs_gradient,
    final_gradient,
    length,
    chunks,
    before,
    inputs_gradient,
    sizes_gradient,
    rates_sums,
    input_weights_sums,
    output_weights_sums,
    initial_gradient,
    width: tl.constexpr,
    count: tl.constexpr,
    CHUNK: tl.constexpr,
    NUMBERS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The gradients, with the sums of each program for what all channels or all rows share.

    `before` is memory for the states of one chunk, `(B, CHUNK, N, D)`.
    """
    batch, block, channels, inside, numbers, within, tile, tile_inside = place(width, count, NUMBERS, BLOCK)
    rate = load(rates, tile, tile_inside)
    gradient = load(final_gradient, batch * count * width + tile, tile_inside)
    rates_sum = tl.zeros((NUMBERS, BLOCK), tl.float32)
    sums = block * (tl.num_programs(0) // tl.cdiv(width, BLOCK)).to(tl.int64) * length
    for i in range(chunks):
        first = (chunks - 1 - i) * CHUNK
        stop = tl.minimum(first + CHUNK, length)
        state = load(starts, (batch * chunks + chunks - 1 - i) * count * width + tile, tile_inside)
        for t in range(first, stop):
            row = batch * length + t
            tl.store(before + (batch * CHUNK + t - first) * count * width + tile, state, tile_inside)
            u, s = load(inputs, row * width + channels, inside), load(sizes, row * width + channels, inside)
            b = load(input_weights, row * count + numbers, within)
            state = tl.exp(s[None, :] * rate) * past(reset, row, state) + (s * u)[None, :] * b[:, None]
        # A thread may read what another has written.
        tl.debug_barrier()
        for k in range(stop - first):
            t = stop - 1 - k
            row = batch * length + t
            u, s = load(inputs, row * width + channels, inside), load(sizes, row * width + channels, inside)
            b = load(input_weights, row * count + numbers, within)
            c = load(output_weights, row * count + numbers, within)
            into_output = load(outputs_gradient, row * width + channels, inside)
            h = past(reset, row, load(before, (batch * CHUNK + t - first) * count * width + tile, tile_inside))
            decay = tl.exp(s[None, :] * rate)
            state = decay * h + (s * u)[None, :] * b[:, None]
            gradient += c[:, None] * into_output[None, :]
            into_entering, into_power = tl.sum(gradient * b[:, None], 0), decay * gradient * h
            rates_sum += into_power * s[None, :]
            tl.store(inputs_gradient + row * width + channels, into_entering * s, inside)
            into_sizes = tl.sum(into_power * rate, 0) + into_entering * u
            tl.store(sizes_gradient + row * width + channels, into_sizes, inside)
            place_of_sums = (sums + row) * count + numbers
            # The channels beyond the last hold zeros in every product.
            tl.store(input_weights_sums + place_of_sums, tl.sum(gradient * (s * u)[None, :], 1), within)
            tl.store(output_weights_sums + place_of_sums, tl.sum(state * into_output[None, :], 1), within)
            gradient = past(reset, row, decay * gradient)
        # The next chunk's states overwrite what has been read.
        tl.debug_barrier()
    tl.store(rates_sums + batch * count * width + tile, rates_sum, tile_inside)
    tl.store(initial_gradient + batch * count * width + tile, gradient, tile_inside)
