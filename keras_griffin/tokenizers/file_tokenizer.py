"""The base of tokenizers that are saved as files, which `load_tokenizer` finds by name.

A subclass defines `contents` and `load`, and sets the attributes. `TOKENIZERS` in `load_tokenizer.py` has a row for it.
"""

import importlib
import os
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from keras_griffin.files import atomic_file
from keras_griffin.shapes import Tensor
from keras_griffin.tokenizers.contract import Tokenizer
from keras_griffin.tokenizers.incremental_decoder import decode


class FileTokenizer:
    """A tokenizer that is saved as one file or a few.

    Attributes:
        file_name: the file by which `load_tokenizer` finds it.
        more_files: those that `save` writes beside it.
        package: the package that it needs, which the extra `tokenizers` installs; None for none.
    """

    file_name: ClassVar[str]
    more_files: ClassVar[tuple[str, ...]] = ()
    package: ClassVar[str | None] = None

    def contents(self) -> dict[str, bytes]:
        """The bytes of each file."""
        raise NotImplementedError(f"contents: {type(self).__name__} must define it.")

    def decode(self, token_ids: Tensor) -> str:
        """The text of `(T,)` ids, without special tokens; bytes that are not UTF-8 become U+FFFD."""
        return decode(cast(Tokenizer, self), token_ids)

    def save(self, directory: str | os.PathLike) -> None:
        """Write the tokenizer's files to a folder."""
        contents = self.contents()
        Path(directory).mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            with atomic_file(Path(directory) / name) as path:
                path.write_bytes(content)

    @classmethod
    def load(cls, directory: str | os.PathLike) -> Self:
        """The tokenizer of a folder that has its files."""
        raise NotImplementedError(f"load: {cls.__name__} must define it.")


def import_package(owner: str, package: str) -> Any:
    """A package of the extra `tokenizers`.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"{owner}: the package {package} must be installed, "
            "for instance with pip install 'keras-griffin[tokenizers]'."
        ) from error
