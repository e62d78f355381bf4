"""Make .venv at the root of the repository and install this package into it with the extras named, once.

    python3 scripts/environment.py jax viz

A stamp in .venv holds, for each extra, the requirements that were installed: nothing is installed again until
pyproject.toml asks for something else.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
INTERPRETER = ENVIRONMENT / "bin" / "python"


def main(extras):
    """Install what is missing; return None, or the sentence that says why that can't be done."""
    if sys.version_info < (3, 11):  # noqa: UP036  The interpreter is the user's, not the package's.
        return f"Python must be 3.11 or newer. Got {sys.version.split()[0]}. Name another: make ... PYTHON=python3.12"
    # Without ensurepip, which Debian packs apart, an environment has no pip.
    if not INTERPRETER.exists() and subprocess.call([sys.executable, "-c", "import ensurepip, venv"]):
        return "Python needs its venv module to make .venv. On Debian and Ubuntu: apt install python3-venv"
    if not has_pip():
        subprocess.check_call([sys.executable, "-m", "venv", "--clear", ENVIRONMENT])
    wanted = requirements()
    unknown = [extra for extra in extras if extra not in wanted]
    if unknown:
        return f"The extras are {', '.join(wanted)}. Got {', '.join(unknown)}."
    missing = [extra for extra in extras if not is_installed(extra, wanted[extra])]
    if not missing:
        return None
    print(f"Installing into .venv, which takes minutes: {', '.join(missing)}", flush=True)
    if subprocess.call([INTERPRETER, "-m", "pip", "install", "-q", "--editable", f"{ROOT}[{','.join(missing)}]"]):
        return "pip could not install them; its message stands above."
    for extra in missing:
        stamp(extra).write_text(wanted[extra])
    return None


def has_pip():
    """Whether there is an environment, and a whole one: an interruption may have left it without pip."""
    return INTERPRETER.exists() and not subprocess.call(
        [INTERPRETER, "-m", "pip", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def requirements():
    """For each extra, the text of its stamp: what pyproject.toml asks for."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return {extra: "\n".join([*project["dependencies"], *needed]) for extra, needed in extras.items()}


def is_installed(extra, wanted):
    """Whether the stamp of an extra says what is wanted."""
    return stamp(extra).exists() and stamp(extra).read_text() == wanted


def stamp(extra):
    """The file that says what was installed for an extra."""
    return ENVIRONMENT / f".extra-{extra}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
