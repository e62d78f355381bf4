"""An export in a process of its own: `python -m keras_griffin.export MODEL.keras PATH OPTIONS`, the options as JSON.

`export` starts it with the backend that writes the format.
"""

import json
import sys

import keras

from keras_griffin.export import export


def main(arguments: list[str]) -> None:
    """Export one file."""
    file, path, options = arguments
    export(keras.saving.load_model(file, compile=False), path, **json.loads(options))


if __name__ == "__main__":
    main(sys.argv[1:])
