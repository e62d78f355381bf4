"""The known names that an unknown one may stand for; without NumPy, which would slow down the command line's parser."""

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str], most: int = 3) -> list[str]:
    """The known names that an unknown one may stand for: the first that begin with it, or else similar ones."""
    known = {each.lower(): each for each in names}
    begin = [each for each in known if name and each.startswith(name.lower())]
    return [known[each] for each in begin[:most] or difflib.get_close_matches(name.lower(), known, n=most)]


def did_you_mean(name: object, names: Iterable[str]) -> str:
    """The end of a sentence that refuses an unknown name: the nearest of the known ones, or a full stop.

    Examples:
        >>> from keras_griffin.names import did_you_mean
        >>> did_you_mean("recurent", ["recurrent", "lru"]), did_you_mean("transformer", ["recurrent", "lru"])
        ("; did you mean 'recurrent'?", '.')
    """
    found = nearest(name, names, 1) if isinstance(name, str) else []
    return f"; did you mean {found[0]!r}?" if found else "."
