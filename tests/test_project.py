"""What several files say of the project, they say alike."""

import importlib
import pkgutil
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import keras_griffin

pytestmark = pytest.mark.any_backend

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BACKENDS = ("jax", "torch", "tensorflow")


def read(path):
    return yaml.safe_load((ROOT / path).read_text())


def oldest(*packages):
    """The least versions of Keras and of backends that pyproject.toml admits, as pip's constraints."""
    extras = PROJECT["optional-dependencies"]
    bounds = [*PROJECT["dependencies"], *(bound for backend in BACKENDS for bound in extras[backend])]
    return [bound.replace(">=", "==") for bound in bounds if re.match(r"\w+", bound)[0] in ("keras", *packages)]


def script(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        return importlib.import_module(name)


def of_age(job, age):
    entries = read(".github/workflows/versions.yml")["jobs"][job]["strategy"]["matrix"]["include"]
    return [entry for entry in entries if entry["age"] == age]


def test_make_experiments_installs_what_they_import():
    """Two of them read tokens, which no requirement of the extra `experiments` makes."""
    (extras,) = re.findall(r"^experiments:\n\t\$\(install\) (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"viz", "tokenizers", "experiments"} <= set(extras.split())


def test_the_oldest_versions_of_the_workflow_and_make_compatibility_are_the_bounds_of_pyproject():
    (tests,), wheels = of_age("tests", "oldest"), of_age("wheel", "oldest")
    assert len(oldest(*BACKENDS)) == 4 and tests["versions"].split() == oldest(*BACKENDS)
    assert {wheel["backend"]: wheel["versions"].split() for wheel in wheels} == {
        backend: oldest(backend) for backend in BACKENDS
    }
    ci = read(".github/workflows/ci.yml")["jobs"]["ci"]["steps"]
    (python,) = (step["with"]["python-version"] for step in ci if "setup-python" in step.get("uses", ""))
    assert {f">={each}" for each in (python, *(entry["python"] for entry in (tests, *wheels)))} == {
        PROJECT["requires-python"]
    }
    compatibility = script("compatibility")
    assert compatibility.lower_bounds() == oldest(*BACKENDS)
    assert all((ROOT / file).exists() for file in compatibility.FILES)


def test_the_newest_versions_of_the_workflow_are_unbounded():
    newest = [*of_age("tests", "newest"), *of_age("wheel", "newest")]
    assert {entry.get("backend") for entry in newest} == {None, *BACKENDS}
    assert not any(entry["versions"] for entry in newest)


def test_the_workflow_of_every_change_runs_what_a_developer_can():
    assert {"run": ".ci/run"} in read(".github/workflows/ci.yml")["jobs"]["ci"]["steps"]


def test_one_wheel_is_installed_on_each_system_with_each_backend_from_wheels_alone():
    build, install = (read(".github/workflows/wheel.yml")["jobs"][job] for job in ("build", "install"))
    matrix = install["strategy"]["matrix"]
    assert [system.partition("-")[0] for system in matrix["system"]] == ["ubuntu", "windows", "macos"]
    assert tuple(matrix["backend"]) == BACKENDS
    assert install["env"]["PIP_ONLY_BINARY"] == ":all:" and install["needs"] == "build"
    commands = [step["run"] for job in (build, install) for step in job["steps"] if "run" in step]
    made, tried = (command.split() for command in commands)
    assert made[:4] == ["python", "-m", "pip", "wheel"]
    # The script takes what the workflow gives it, and the tests that it runs are there.
    arguments = " ".join(tried).replace("${{ matrix.backend }}", "jax").split()[1:]
    assert arguments == ["scripts/try_wheel.py", "--tests", "jax", "dist/*.whl"]
    files = [ROOT / "tests" / name for name in script("try_wheel").TESTS]
    assert files and all(file.exists() for file in files)


def test_the_version_is_one():
    citation = read("CITATION.cff")
    assert PROJECT["version"] == keras_griffin.__version__ == citation["version"]
    assert (PROJECT["name"], PROJECT["license"]) == (citation["title"], citation["license"])


def test_dir_shows_the_public_names_alone():
    """And so does tab completion."""
    found = pkgutil.walk_packages(keras_griffin.__path__, "keras_griffin.")
    modules = [keras_griffin, *(importlib.import_module(each.name) for each in found if each.ispkg)]
    public = [module for module in modules if hasattr(module, "__all__")]
    assert len(public) > 12
    for module in public:
        assert dir(module) == sorted(module.__all__), module.__name__


def test_the_flagships_stand_at_the_top():
    names = ("Griffin", "GriffinConfig", "Hawk", "LanguageModel", "MQATransformer", "SequenceEncoder")
    assert all(getattr(keras_griffin, name) is getattr(keras_griffin.models, name) for name in names)
    assert keras_griffin.RGLRU is keras_griffin.layers.RGLRU
    subpackages = {name for name in keras_griffin.__all__ if name.islower()}
    assert {*names, "RGLRU"} == set(keras_griffin.__all__) - subpackages


def test_nothing_that_git_ignores_is_tracked():
    """Such as generated pages, which `git add --force` takes with them; unfinished experiments keep their runs."""
    # Not by a user's own rules.
    ignored = ["--cached", "--ignored", "--exclude-per-directory=.gitignore"]
    command = ["git", "ls-files", *ignored, "--", ".", ":!experiments/runs"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    if listed.returncode:
        pytest.skip("not a checkout of git")
    assert not listed.stdout
