"""The rules of docs/architecture.md, read from the source: each finds its bad examples, and the package obeys it."""

import ast
import functools
import graphlib
import re
import sys
from pathlib import Path

import pytest

from keras_griffin.backend import BACKENDS

pytestmark = pytest.mark.any_backend

ROOT = Path(__file__).resolve().parent.parent

#: The storeys, from the ground up. A file imports from its own storey and from those before it; folders on one level
#: (a tuple) don't import one another. `tasks` are NumPy only, and nothing imports `testing`.
LADDER = (
    ("names",),
    ("shapes", "backend", "backends", "checks", "files", "program"),
    ("ops", "tokenizers"),
    ("layers",),
    ("mixers",),
    ("generation",),
    ("models",),
    ("tasks", "conversion", "training", "distribution", "inspection", "export", "serving"),
    ("commands",),
    ("__main__",),
    ("testing",),
)
LEVELS = {folder: level for level, folders in enumerate(LADDER) for folder in folders}
#: Where files named after a backend may import it.
WITH_BACKENDS = ("backends", "ops", "generation", "models", "conversion", "training", "distribution", "export")
#: Packages beside Keras, NumPy and the backends that a function may import when it is called, each named by an extra.
OPTIONAL = {
    *("huggingface_hub", "jax_triton", "matplotlib", "onnxscript", "orbax", "prometheus_client", "sentencepiece"),
    *("starlette", "tokenizers", "uvicorn"),
}
#: What every file may import. Keras itself needs ml_dtypes, and NumPy has no bfloat16 without it.
NEEDED = {"keras", "ml_dtypes", "numpy", "safetensors"}
#: Attributes that not all objects of Keras, of the backends, of packages around tokenizers and of Python have.
FOREIGN = {
    *("distribute_strategy", "ignore_class", "inner_optimizer", "loss", "metrics", "num_batches", "optimizer"),
    *("dtype", "is_fully_addressable", "is_fully_replicated", "num_replicas_in_sync", "rank", "shape", "variables"),
    *("full_tensor", "num_workers", "placements", "reset_iter_state", "sharding", "spec", "worker_init_fn"),
    *("backend_tokenizer", "ids", "to_str"),
    *("from_logits", "lora_enabled", "mode"),
    "register_at_fork",
}
#: What Windows, or macOS too, has not.
LACKING = {
    *("/proc", "fcntl", "grp", "pty", "pwd", "readline", "resource", "termios", "tty", "msvcrt"),
    *("os.O_BINARY", "os.chown", "os.fork", "os.getuid", "os.kill", "os.killpg", "os.register_at_fork", "os.setsid"),
    *("os.sched_getaffinity", "os.sched_setaffinity", "os.symlink", "os.sysconf", "os.uname"),
    *("signal.SIGALRM", "signal.SIGHUP", "signal.SIGKILL", "signal.SIGUSR1", "signal.pthread_kill", "time.tzset"),
}
#: Folders of `ops` that are no op.
WITHOUT_OPS = ("chunked", "recurrence", "shared")


class Source:
    """One file of the package: its path below the root, and its text."""

    def __init__(self, path: str, text: str):
        self.path = Path(path)
        self.lines = text.splitlines()
        self.tree = ast.parse(text)
        parts = self.path.with_suffix("").parts
        self.package = parts[:-1]
        self.folder = parts[1]
        self.name = parts[-1]
        self.backend = next((backend for backend in BACKENDS if self.name.startswith(f"{backend}_")), None)

    @functools.cached_property
    def imports(self) -> list[tuple[str, bool]]:
        """Each module or name imported, absolute and dotted, and whether importing the file imports it."""
        return list(self._imports(self.tree, at_import=True))

    def _imports(self, node, at_import):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, at_import) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                above = self.package[: len(self.package) - child.level + 1] if child.level else ()
                module = ".".join([*above, *([child.module] if child.module else [])])
                yield from ((f"{module}.{alias.name}", at_import) for alias in child.names)
            elif isinstance(child, ast.Call) and ast.unparse(child.func).split(".")[-1] in (
                "import_module",
                "__import__",
            ):
                yield _literal_start(child.args[0]), at_import
            in_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from self._imports(child, at_import and not in_function)


def _literal_start(node) -> str:
    """What is known of a string from its source: `keras_griffin.ops.` of `f"keras_griffin.ops.{backend}_loop"`."""
    if isinstance(node, ast.JoinedStr) and node.values:
        node = node.values[0]
    return node.value if isinstance(node, ast.Constant) else ""


#: By their names, the rules and their bad examples.
RULES = {}


def rule(*bad, each="file"):
    """Make a function a rule, which each of the bad examples, a path and a text, breaks.

    It yields a sentence for each violation in a file, or says whether one of a file's imports or nodes is one.
    """

    def register(function):
        def of_imports(source):
            return (f"imports {name}" for name, at_import in source.imports if function(source, name, at_import))

        def of_nodes(source):
            return (f"line {node.lineno}" for node in ast.walk(source.tree) if function(source, node))

        found = {"file": function, "import": of_imports, "node": of_nodes}[each]
        RULES[function.__name__] = found, bad
        return found

    return register


@rule(
    ("ops/a.py", "from keras_griffin.layers import RMSNorm"),
    ("ops/a.py", "def f():\n    import keras_griffin.models"),
    ("ops/a.py", "from .. import layers"),
    ("ops/a.py", "importlib.import_module(f'keras_griffin.layers.{name}')"),
    ("training/a.py", "from keras_griffin.inspection import memory"),
    ("__main__.py", "from keras_griffin.testing import closeness"),
)
def imports_go_down_the_ladder(source):
    for name, _ in source.imports:
        folder = name.split(".")[1] if name.startswith("keras_griffin.") else None
        if folder not in LEVELS or folder == source.folder or source.folder == "__init__":
            continue
        if LEVELS[folder] >= LEVELS[source.folder] or folder == "testing":
            yield f"{source.folder} imports {name}"


@rule(("utils/a.py", ""))
def every_folder_has_its_place_on_the_ladder(source):
    if source.folder not in LEVELS and source.folder != "__init__":
        yield f"{source.folder} stands on no level of the ladder"


@rule(("tasks/a.py", "import keras"), each="import")
def tasks_are_numpy_only(source, name, _):
    known = {"numpy", "keras_griffin", *sys.stdlib_module_names}
    return source.folder == "tasks" and name.split(".")[0] not in known


@rule(
    ("ops/a.py", "import jax"),
    ("ops/s/jax_loop.py", "import torch"),
    ("ops/s/jax_loop.py", "import triton"),
    ("layers/torch_a.py", "import torch"),
    each="import",
)
def backends_are_imported_only_in_files_named_after_them(source, name, _):
    top, words = name.split(".")[0], set(source.name.split("_"))
    is_named = top == source.backend or (top == "triton" and {"torch", "triton"} & words)
    return top in ("triton", *BACKENDS) and not (is_named and source.folder in WITH_BACKENDS)


@rule(
    ("ops/a.py", "import scipy.special"),
    ("training/a.py", "import matplotlib.pyplot"),
    ("training/a.py", "def f():\n    import pandas"),
    each="import",
)
def nothing_but_keras_and_numpy_is_needed(source, name, at_import):
    top = name.split(".")[0]
    known = {"", *NEEDED, "keras_griffin", "triton", *BACKENDS, *sys.stdlib_module_names}
    return top not in known and (at_import or top not in OPTIONAL)


@rule(
    ("ops/a.py", "from keras.src.backend import config"),
    ("ops/a.py", "from keras import src"),
    ("ops/a.py", "x = keras.src.backend"),
)
def keras_internals_are_left_alone(source):
    for name, _ in source.imports:
        if name.startswith("keras.src"):
            yield f"imports {name}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "keras.src":
            yield f"line {node.lineno} uses keras.src"


@rule(("ops/a.py", "assert True"), each="node")
def no_assert(source, node):
    return isinstance(node, ast.Assert)


@rule(
    ("ops/a.py", "try:\n    pass\nexcept:\n    pass"),
    ("ops/a.py", "try:\n    pass\nexcept (KeyError, Exception):\n    pass"),
    each="node",
)
def no_broad_except(source, node):
    if isinstance(node, ast.ExceptHandler):
        names = {"BaseException"} if node.type is None else {ast.unparse(part) for part in ast.walk(node.type)}
        return names & {"Exception", "BaseException"}


@rule(("ops/a.py", "try:\n    pass\nexcept KeyError:\n    pass"), each="node")
def nothing_is_tried_around_a_kernel(source, node):
    return source.folder == "ops" and isinstance(node, ast.Try) and node.handlers


@rule(
    ("files/a.py", "open(path)"),
    ("files/a.py", "open(path, mode='w')"),
    ("files/a.py", "path.open('a', newline='')"),
    ("files/a.py", "Path(path).read_text()"),
    ("files/a.py", "path.write_text(text, errors='replace')"),
    each="node",
)
def text_files_name_their_encoding(source, node):
    """Without it Windows reads and writes in the code page of the user's country."""
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func).split(".")[-1]
    is_method = isinstance(node.func, ast.Attribute)
    place = {"read_text": 0, "write_text": 1}.get(name) if is_method else None
    named = {each.arg: each.value for each in node.keywords}
    if name == "open":
        # `open(path, mode, buffering, encoding)`, and a path's method without the path.
        place = 2 if is_method else 3
        (mode,) = node.args[place - 2 : place - 1] or [named.get("mode", ast.Constant("r"))]
        if not isinstance(mode, ast.Constant) or not re.fullmatch("[rwax+t]+", str(mode.value)):
            return False
    return place is not None and len(node.args) <= place and "encoding" not in named


@rule(
    ("files/a.py", "import fcntl"),
    ("files/a.py", "def f():\n    os.fork()"),
    ("files/a.py", "def f(path='/proc/stat'):\n    path.read()"),
)
def what_a_system_may_lack_is_asked_for(source):
    """Modules and functions that Windows or macOS lacks are used in a branch, or where the failure is handled."""
    guards = (ast.If, ast.IfExp, ast.BoolOp, ast.Try, ast.With)

    def walk(node, is_guarded, function):
        is_guarded = is_guarded or isinstance(node, guards)
        function = ast.unparse(node) if isinstance(node, ast.FunctionDef) else function
        names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
        names |= {node.module} if isinstance(node, ast.ImportFrom) else set()
        names |= {ast.unparse(node)} if isinstance(node, ast.Attribute) else set()
        names |= {"/proc"} if isinstance(node, ast.Constant) and str(node.value).startswith("/proc/") else set()
        for name in names & LACKING:
            is_asked = name == "/proc" and (".exists()" in function or "except OSError" in function)
            if not (is_guarded or is_asked):
                yield f"line {node.lineno} uses {name}"
        for child in ast.iter_child_nodes(node):
            yield from walk(child, is_guarded, function)

    yield from walk(source.tree, False, "")


@rule(("layers/a.py", "\n" * 200), ("ops/linear_scan/portable.py", "\n" * 350), ("models/a.py", "\n" * 400))
def files_are_small(source):
    limit = 200 if source.folder == "layers" else 350 if is_kernel(source) else 400
    if len(source.lines) >= limit:
        yield f"{len(source.lines)} lines, and the limit is {limit}"


@rule(
    ("mixers/a.py", "from keras_griffin.mixers.local_mqa import LocalMQA"),
    ("mixers/a.py", "from . import local_mqa"),
    each="import",
)
def a_mixer_imports_no_mixer(source, name, _):
    return source.folder == "mixers" and source.name != "__init__" and name.startswith("keras_griffin.mixers")


@rule(("ops/local_attention/portable.py", "from ..linear_scan import portable"), each="import")
def a_kernel_imports_no_kernel_of_another_op(source, name, _):
    """But for a definition, and for the same kernel of a device, which serves both."""
    _, folder, op, inside, *_ = [*name.split("."), "", "", "", ""]
    if is_kernel(source) and folder == "ops" and is_kernel_name(inside):
        is_same = source.name == inside != "portable"
        return op not in (source.package[2], *WITHOUT_OPS) and not is_same


@rule(("layers/a.py", "if (x := f()): pass"), each="node")
def autograph_can_read_what_tensorflow_traces(source, node):
    """An assignment expression makes it warn, and leave the function as it is, in a user's `tf.function`."""
    is_traced = source.folder in ("ops", "layers", "mixers", "models") and source.backend in (None, "tensorflow")
    return is_traced and isinstance(node, ast.NamedExpr)


@rule(("ops/linear_scan/reference.py", "from keras import ops"), each="import")
def references_are_numpy(source, name, _):
    # The package's other references, and its types, need nothing else either.
    allowed = {
        "numpy",
        "shapes",
        "numbers",
        "marks",
        "inputs",
        "GatedScanInputs",
        "reference",
        *sys.stdlib_module_names,
    }
    return source.name == "reference" and not allowed & set(name.split("."))


@rule(("models/a.py", "getattr(x, 'unheard_of', None)"), ("models/a.py", "hasattr(x, 'grows')"))
def what_is_asked_for_by_name_is_in_the_table(source):
    for name, line in asked_for_by_name(source):
        if name not in FOREIGN and str(source.path).removeprefix("keras_griffin/") not in the_table().get(name, ()):
            yield f"line {line} asks for {name!r}, which the table in docs/files.md does not say"


@rule(("layers/a.py", "class AState(NamedTuple):\n    pass\nx = 1"))
def a_state_stands_just_above_its_owner(source):
    # The model's state is a type of its own folder: generation, which stands below the models, is about it.
    if source.name == "state":
        return
    for state, owner in zip(source.tree.body, [*source.tree.body[1:], None], strict=True):
        if is_named_tuple(state) and state.name.endswith("State") and not isinstance(owner, ast.ClassDef):
            yield f"no class follows {state.name}"


@rule(("ops/no_such_op.py", "def of_which_no_test_speaks(): pass"), ("ops/no_such_op/jax_loop.py", "def f(): pass"))
def every_file_has_its_tests(source):
    """Where a file defines anything, a test file of its own mirrors it, or its folder's tests name all that it defines.

    A room's tests may stand in the folder around it. A package's contract, in `__init__.py`, is tested under the
    package's name; an op's kernels are tested on its cases, by `tests/ops/test_rows.py`, and so are the walks of
    `ops/recurrence/` that they are made of; the files `<backend>_x.py` are tested together, on every backend, as `x`.
    """
    definitions = [node for node in source.tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    if "recurrence" in source.package and source.name not in ("scan_op", "numbers", "marks", "gradient"):
        return
    defined = [node.name for node in definitions if not is_named_tuple(node)]
    folder = ROOT.joinpath("tests", *source.package[1:])
    name = source.package[-1] if source.name == "__init__" else source.name.strip("_")
    if is_kernel(source) or source.name == "cases":
        if not ROOT.joinpath(*source.package, "cases.py").exists():
            yield f"{source.package[-1]} has no cases.py"
        return
    if source.backend:
        name = source.name.removeprefix(f"{source.backend}_") + "*"
    if not defined or any("def test_" in path.read_text() for path in folder.glob(f"test_{name}.py")):
        return
    around = [*folder.rglob("test_*.py"), *(folder.parent.glob("test_*.py") if len(source.package) > 2 else ())]
    words = set(re.findall(r"\w+", "".join(path.read_text() for path in around)))
    unnamed = [name for name in defined if not name.startswith("_") and name not in words]
    if unnamed or source.backend:
        yield f"no test_{name}.py in {folder.relative_to(ROOT)}, where no test names {', '.join(unnamed)}"


def asked_for_by_name(source):
    """The attributes that `getattr` or `hasattr` is given as literals, but for Python's own, and the lines."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and not name.value.startswith("_"):
                yield name.value, node.lineno


@functools.cache
def the_table() -> dict[str, list[str]]:
    """By an attribute's name, the files that ask for it: the table of docs/files.md."""
    page = (ROOT / "docs/files.md").read_text().split("## What is asked for by name\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", page, re.MULTILINE)
    return {name: re.findall(r"`([\w/]+\.py)`", files) for name, files in rows}


def is_named_tuple(node) -> bool:
    """Whether a statement defines a NamedTuple."""
    return isinstance(node, ast.ClassDef) and "NamedTuple" in [ast.unparse(base) for base in node.bases]


def is_kernel(source) -> bool:
    """Whether a file implements an op: it stands in the op's folder under a kernel's name."""
    is_of_an_op = source.folder == "ops" and len(source.package) == 3 and source.package[2] not in WITHOUT_OPS
    return is_of_an_op and is_kernel_name(source.name)


def is_kernel_name(name) -> bool:
    """Whether a kernel would be called so."""
    return name in ("reference", "portable") or name.split("_")[0] in ("numpy", "triton", *BACKENDS)


@functools.cache
def sources():
    return [
        Source(str(path.relative_to(ROOT)), path.read_text()) for path in sorted(ROOT.glob("keras_griffin/**/*.py"))
    ]


@pytest.mark.parametrize("name", RULES)
def test_the_package_obeys(name):
    """And each bad example is found."""
    function, bad = RULES[name]
    assert bad and all([*function(Source(f"keras_griffin/{path}", text))] for path, text in bad)
    violations = [f"{source.path}: {sentence}" for source in sources() for sentence in function(source)]
    assert not violations, "\n".join([name.replace("_", " "), *violations])


@pytest.mark.parametrize("rule", [text_files_name_their_encoding, what_a_system_may_lack_is_asked_for])
def test_the_scripts_run_on_every_system_too(rule):
    files = [*sorted(ROOT.glob("scripts/*.py")), ROOT / "tests/run_backends.py"]
    violations = [f"{file.name}: {text}" for file in files for text in rule(Source(str(file), file.read_text("utf-8")))]
    assert not violations, "\n".join(violations)


def test_the_table_says_only_what_is_asked_for_by_name():
    asked = {(name, str(source.path)) for source in sources() for name, _ in asked_for_by_name(source)}
    listed = {(name, f"keras_griffin/{file}") for name, files in the_table().items() for file in files}
    assert listed and not listed - asked
    assert FOREIGN <= {name for name, _ in asked}


def test_every_kernel_is_a_row_in_the_table_of_its_op():
    """Or a part of one, which another kernel of the op imports."""
    from keras_griffin.ops.implementation import Op

    kernels = {(source.package[2], source.name): source for source in sources() if is_kernel(source)}
    rows = {(op.name, row.name) for op in Op.registry.values() for row in op.implementations}
    parts = {
        (op, name)
        for (op, _), source in kernels.items()
        for name in {imported.split(".")[3] for imported, _ in source.imports if f".ops.{op}." in imported}
    }
    assert rows and rows <= set(kernels) <= rows | parts


def test_every_mixer_is_a_row_in_the_table_of_mixers():
    from keras_griffin.mixers import find_mixer, mixer_names

    paths = [source.path for source in sources() if source.folder == "mixers" and source.name != "__init__"]
    files = {".".join(path.with_suffix("").parts) for path in paths}
    # Other tests may have added mixers of their own.
    modules = {find_mixer(name)[0].__module__ for name in mixer_names()}
    package = {module for module in modules if module.startswith("keras_griffin.")}
    assert files == package


def arrows(files):
    """For each module which of the others it imports, also within a function."""
    names = {".".join([*source.package, source.name]).removesuffix(".__init__"): source for source in files}
    return {
        name: {module for module in names for imported, _ in source.imports if _is_of(imported, module, names)} - {name}
        for name, source in names.items()
    }


def _is_of(imported, module, names):
    """Whether `imported`, a module or a name in one, is found in `module`."""
    if imported.endswith("."):
        # The module for the active backend.
        return module.startswith(imported) and names[module].backend is not None
    return imported == module or (imported not in names and imported.rpartition(".")[0] == module)


def test_no_imports_run_in_a_circle():
    bad = [Source(f"keras_griffin/{name}.py", f"import keras_griffin.{other}") for name, other in ("ab", "ba")]
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(arrows(bad)).prepare()
    graphlib.TopologicalSorter(arrows(sources())).prepare()
