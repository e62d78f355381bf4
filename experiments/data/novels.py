"""Jane Austen's six novels as a Debian package has them, read without R."""

import struct
import zlib
from pathlib import Path

import numpy as np

from keras_griffin.tasks.text import Corpus

#: The package, and what it installs: a database of R objects.
PACKAGE = "r-cran-janeaustenr"
NOVELS = Path("/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb")
#: The title of the one that is not trained on.
HELD_OUT = "Persuasion"
#: The start of R's binary format, version 3; its types of a string and of a vector of strings.
HEADER = b"X\n\x00\x00\x00\x03"
STRING, STRINGS = 9, 16


def objects(path: Path) -> list[bytes]:
    """The serialised objects of an R database: each after four bytes, its length, in a stream of zlib's.

    Raises:
        ValueError: the file is something else, or cut off.
    """
    data, found = path.read_bytes(), []
    while data:
        unpacker = zlib.decompressobj()
        try:
            found.append(unpacker.decompress(data[4:]))
        except zlib.error:
            found.append(b"")
        if not unpacker.eof or len(found[-1]) != int.from_bytes(data[:4], "big"):
            raise ValueError(
                f"objects: {path} must be a whole database of R objects. Got a broken object {len(found)}."
            )
        data = unpacker.unused_data
    return found


def lines(serialised: bytes) -> list[bytes]:
    """The strings of a serialised vector.

    Raises:
        ValueError: it is something else, or a string is missing.
    """
    # R's version, the least that can read this, and the length of an encoding's name follow, then that name.
    place = len(HEADER) + 12 + int.from_bytes(serialised[len(HEADER) + 8 : len(HEADER) + 12], "big")
    if not serialised.startswith(HEADER) or serialised[place + 3 : place + 4] != bytes([STRINGS]):
        raise ValueError(
            f"lines: an object must be a vector of strings in R's binary format, version 3. Got {serialised[:40]!r}."
        )
    (number,) = struct.unpack_from(">I", serialised, place + 4)
    place, found = place + 8, []
    for _ in range(number):
        kind, length = struct.unpack_from(">Ii", serialised, place)
        if kind & 0xFF != STRING or length < 0:
            raise ValueError(
                f"lines: string {len(found):,} must not be missing. Got type {kind & 0xFF}, length {length}."
            )
        place += 8 + length
        found.append(serialised[place - length : place])
    return found


def load_novels(path: Path = NOVELS) -> Corpus:
    """Five novels to train on, and the sixth, held out whole; UTF-8.

    Raises:
        ValueError: the held-out one is not there.
    """
    texts = {each[0].decode(): b"\n".join(each) + b"\n" for each in map(lines, objects(path)) if each}
    if HELD_OUT not in texts:
        raise ValueError(f"load_novels: {path} must hold {HELD_OUT!r}. Got {', '.join(texts) or 'nothing'}.")
    held_out = texts.pop(HELD_OUT)
    train, validation = (np.frombuffer(text, "uint8") for text in (b"".join(texts.values()), held_out))
    return Corpus("novels by Jane Austen", train, validation, tuple(texts), (HELD_OUT,))
