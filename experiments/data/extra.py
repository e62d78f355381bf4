"""The packages of the extra `experiments`: data sets, which only some experiments need."""

from importlib import import_module
from types import ModuleType


def package(module: str, distribution: str) -> ModuleType:
    """A module of an optional package.

    Args:
        module: its full name.
        distribution: the package's name for pip.

    Raises:
        SystemExit: it is not installed; the message says how to install it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        # A package may be there and lack another.
        if not f"{module}.".startswith(f"{error.name}."):
            raise
        raise SystemExit(
            f"experiments: {distribution} must be installed for the data of this experiment: pip install "
            f"{distribution}. Got no module {error.name}."
        ) from None
