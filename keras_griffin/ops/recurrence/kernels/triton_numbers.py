"""Real and complex numbers in the Triton kernels: tuples of one or two components, and so are pointers to them."""

import triton
from triton import language as tl


@triton.jit
def moved(pointers, offset):
    """Pointers to the numbers `offset` places further."""
    if len(pointers) == 1:
        return (pointers[0] + offset,)
    else:
        return pointers[0] + offset, pointers[1] + offset


@triton.jit
def stored(pointers, offset, where):
    """A number as it is in memory; anything where it isn't loaded. `where` is a tuple of at most one condition."""
    parts = ()
    for k in tl.static_range(len(pointers)):
        if len(where) == 0:
            parts += (tl.load(pointers[k] + offset),)
        else:
            parts += (tl.load(pointers[k] + offset, where[0]),)
    return parts


@triton.jit
def widened(number):
    """A number in float32."""
    if len(number) == 1:
        return (number[0].to(tl.float32),)
    else:
        return number[0].to(tl.float32), number[1].to(tl.float32)


@triton.jit
def load(pointers, offset, where):
    """A number in float32; zero where it isn't loaded."""
    real = tl.load(pointers[0] + offset, where, other=0.0).to(tl.float32)
    if len(pointers) == 1:
        return (real,)
    else:
        return real, tl.load(pointers[1] + offset, where, other=0.0).to(tl.float32)


@triton.jit
def store(pointers, offset, number, where):
    """Write a number, rounded to the array's dtype."""
    for part in tl.static_range(len(pointers)):
        tl.store(pointers[part] + offset, number[part], where)


@triton.jit
def add(first, second):
    """The sum."""
    if len(first) == 1:
        return (first[0] + second[0],)
    else:
        return first[0] + second[0], first[1] + second[1]


@triton.jit
def multiply(first, second):
    """The product."""
    if len(first) == 1:
        return (first[0] * second[0],)
    else:
        a, b = first
        c, d = second
        return a * c - b * d, a * d + b * c


@triton.jit
def conjugate(number):
    """The complex conjugate; a real number is its own."""
    if len(number) == 1:
        return number
    else:
        return number[0], -number[1]


@triton.jit
def select(condition, number, neutral):
    """The number where the condition holds, elsewhere the real `neutral`."""
    if len(number) == 1:
        return (tl.where(condition, number[0], neutral),)
    else:
        return tl.where(condition, number[0], neutral), tl.where(condition, number[1], 0.0)


@triton.jit
def constant(number, value, BLOCK: tl.constexpr):
    """The real `value` on every channel, with as many components as `number`."""
    real = tl.full((BLOCK,), value, tl.float32)
    if len(number) == 1:
        return (real,)
    else:
        return real, tl.full((BLOCK,), 0.0, tl.float32)


@triton.jit
def zeros(pointers, BLOCK: tl.constexpr):
    """Zero on every channel, as it is in memory."""
    real = tl.zeros((BLOCK,), pointers[0].dtype.element_ty)
    if len(pointers) == 1:
        return (real,)
    else:
        return real, tl.zeros((BLOCK,), pointers[1].dtype.element_ty)
