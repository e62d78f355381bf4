"""CRC-32 checksums of a preset's files, so that each tensor is checked as it is read, and nothing is read twice.

The file has `files`, of each small file by name; `header`, of that of the weight file; and `tensors`, by name.
"""

import json
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from keras_griffin.files.safetensors import SafeTensors, StoredTensor

CHECKSUMS = "keras_griffin_checksums.json"


def recorded(tensors: Mapping[str, StoredTensor], sums: dict[str, int]) -> dict[str, StoredTensor]:
    """The tensors, each of which records its checksum under its name when it is read."""

    def read(name, tensor):
        array = np.asarray(tensor.read(), order="C")
        sums[name] = array_crc32(array)
        return array

    return {name: tensor._replace(read=partial(read, name, tensor)) for name, tensor in tensors.items()}


def write_checksums(folder: Path, weights: SafeTensors, sums: Mapping[str, int]) -> None:
    """Write the checksums of a folder with all its files; `sums` are those of the tensors of its weight file."""
    names = sorted(path.name for path in folder.iterdir() if path.name != weights.path.name)
    files = {name: zlib.crc32((folder / name).read_bytes()) for name in names}
    content = {"files": files, "header": weights.header_crc32, "tensors": dict(sums)}
    (folder / CHECKSUMS).write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def check_files(folder: Path) -> None:
    """Compare the small files of a folder with their checksums."""
    for name, expected in _read(folder)["files"].items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            _refuse(folder, f"no {name}")
        if zlib.crc32(path.read_bytes()) != expected:
            _refuse(folder, f"a changed {name}")


def verified(folder: Path, weights: SafeTensors) -> dict[str, StoredTensor]:
    """The tensors of a weight file, each of which is compared with its checksum when it is read."""
    sums = _read(folder)
    if weights.header_crc32 != sums["header"]:
        _refuse(folder, f"a changed header of {weights.path.name}")

    def read(name):
        array = weights.stored(name).read()
        if array_crc32(array) != sums["tensors"].get(name):
            _refuse(folder, f"a changed {name}")
        return array

    return {name: weights.stored(name)._replace(read=partial(read, name)) for name in weights}


def _read(folder) -> dict:
    if not (folder / CHECKSUMS).is_file():
        _refuse(folder, f"no {CHECKSUMS}")
    try:
        sums = json.loads((folder / CHECKSUMS).read_text("utf-8"))
    except (ValueError, RecursionError):
        sums = None
    is_whole = isinstance(sums, dict) and isinstance(sums.get("files"), dict) and isinstance(sums.get("tensors"), dict)
    if not is_whole or "header" not in sums:
        _refuse(folder, f"a changed {CHECKSUMS}")
    return sums


def _refuse(folder, received):
    raise ValueError(
        "from_preset: every file must be as save_to_preset wrote it; verify=False skips the checksums. "
        f"Got {str(folder)!r} with {received}."
    )


def array_crc32(array: np.ndarray) -> int:
    """The CRC-32 of an array's bytes in row-major order."""
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view("uint8").data)
