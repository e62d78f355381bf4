"""Build a folder with a web page that continues text: a model as ONNX, its tokenizer, and onnxruntime-web.

    KERAS_BACKEND=torch python scripts/demo.py                        # python_tiny, into runs/demo
    KERAS_BACKEND=torch python scripts/demo.py --model runs/quickstart runs/mine
    python -m http.server --directory runs/demo

The page works without a network, on any static host. npm, which comes with Node.js, downloads onnxruntime-web and
compares it with the checksums in scripts/demo/package-lock.json.
"""

import argparse
import html
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from keras_griffin.commands.shared.errors import CommandError
from keras_griffin.commands.shared.load import load_text_model
from keras_griffin.export import export
from keras_griffin.models import LanguageModel
from keras_griffin.models.presets import TRAINED

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "scripts/demo"
#: What npm needs to know; all else in PAGE is the page.
PACKAGE = ("package.json", "package-lock.json")
#: What the page needs of onnxruntime-web: the runtime on one thread, which needs no special headers.
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")


def build(model: LanguageModel, name: str, folder: Path) -> None:
    """Write the page of a model with a tokenizer, under a name, to a folder.

    Raises:
        RuntimeError: npm is missing or fails.
        ValueError: the model can't be exported.
    """
    folder.mkdir(parents=True, exist_ok=True)
    install_runtime(folder)
    export(model, folder / "model.onnx")
    for file in PAGE.iterdir():
        if file.name not in PACKAGE:
            shutil.copy(file, folder)
    shutil.copy(ROOT / "docs/favicon.svg", folder)
    if name in TRAINED:
        shutil.copy(TRAINED[name] / "LICENSE", folder)
    page = folder / "index.html"
    page.write_text(page.read_text("utf-8").replace("{model}", html.escape(name)), "utf-8")


def install_runtime(folder: Path) -> None:
    """Copy the files of onnxruntime-web from a checked package."""
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("demo: npm, which comes with Node.js, must be installed. Got none.")
    with tempfile.TemporaryDirectory() as aside:
        for name in PACKAGE:
            shutil.copy(PAGE / name, aside)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
        run = subprocess.run(command, cwd=aside, capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"demo: npm must install onnxruntime-web. Got\n{run.stderr.strip()}")
        for name in RUNTIME:
            shutil.copy(Path(aside) / "node_modules/onnxruntime-web/dist" / name, folder)


def main():
    """Build the page; return None, or an error message."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    help = "a preset, a run of `train`, or a .keras file (default: %(default)s)"
    parser.add_argument("--model", default="python_tiny", metavar="NAME", help=help)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "runs/demo", help="(default: runs/demo)")
    options = parser.parse_args()
    try:
        build(load_text_model("demo", options.model), Path(options.model).name, options.folder)
    except (CommandError, ImportError, OSError, RuntimeError, ValueError) as error:
        return str(error)
    size = sum(file.stat().st_size for file in options.folder.iterdir())
    print(f"{options.folder}: {size / 1e6:.1f} MB. To open it at http://localhost:8000:")
    print(f"{Path(sys.executable).name} -m http.server --directory {options.folder}")
    return None


if __name__ == "__main__":
    sys.exit(main())
