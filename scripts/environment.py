"""Create an environment at the root of the repository and install extras or dependency groups into it, once.

    python3 scripts/environment.py jax viz
    python3 scripts/environment.py --into .venv-parity parity

A name is one of pyproject.toml's extras, installed together with this package, or one of its dependency groups,
installed alone. For each name, a stamp in the environment records the installed requirements: nothing is installed
again until they change in pyproject.toml.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main():
    """Install what is missing; return None, or an error message."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--into", metavar="NAME", default=".venv", help="the environment's folder (default: %(default)s)"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="extras and dependency groups")
    options = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036  The interpreter is the user's, not the package's.
        return f"Python must be 3.11 or newer. Got {sys.version.split()[0]}. Set another: make ... PYTHON=python3.12"
    environment = ROOT / options.into
    # Without ensurepip, which Debian packages separately, an environment has no pip.
    if not interpreter(environment).exists() and subprocess.call([sys.executable, "-c", "import ensurepip, venv"]):
        return f"Python needs its venv module to create {options.into}. On Debian and Ubuntu: apt install python3-venv"
    if not has_pip(environment):
        subprocess.check_call([sys.executable, "-m", "venv", "--clear", environment])
    extras, groups = requirements()
    unknown = [name for name in options.names if name not in {**extras, **groups}]
    if unknown:
        return f"The extras and groups are {', '.join({**extras, **groups})}. Got {', '.join(unknown)}."
    wanted = {name: "\n".join({**extras, **groups}[name]) for name in options.names}
    missing = [name for name in options.names if not is_installed(environment, name, wanted[name])]
    if not missing:
        return None
    print(f"Installing into {options.into}, which takes minutes: {', '.join(missing)}", flush=True)
    package = ",".join(name for name in missing if name in extras)
    arguments = ["--editable", f"{ROOT}[{package}]"] if package else []
    arguments += [requirement for name in missing if name in groups for requirement in groups[name]]
    if subprocess.call([interpreter(environment), "-m", "pip", "install", "-q", *arguments]):
        return "pip could not install them; see its message above."
    for name in missing:
        stamp(environment, name).write_text(wanted[name], "utf-8")
    return None


def interpreter(environment):
    """The environment's Python."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def has_pip(environment):
    """Whether the environment exists and is complete: an interruption may have left it without pip."""
    return interpreter(environment).exists() and not subprocess.call(
        [interpreter(environment), "-m", "pip", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def requirements():
    """The requirements in pyproject.toml, by extra (with the package's own dependencies) and by dependency group."""
    import tomllib

    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project = pyproject["project"]
    extras = {extra: [*project["dependencies"], *needed] for extra, needed in project["optional-dependencies"].items()}
    return extras, pyproject.get("dependency-groups", {})


def is_installed(environment, name, wanted):
    """Whether the stamp of an extra or a group matches the requirements."""
    return stamp(environment, name).exists() and stamp(environment, name).read_text("utf-8") == wanted


def stamp(environment, name):
    """The file that records the installed requirements of an extra or a group."""
    return environment / f".extra-{name}"


if __name__ == "__main__":
    sys.exit(main())
