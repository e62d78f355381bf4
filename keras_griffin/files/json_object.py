"""JSON objects from files that may be damaged."""

import json
from pathlib import Path


def read_json_object(function_name: str, path: Path) -> dict:
    """The object in a JSON file; a ValueError if it is not JSON, or not an object."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{function_name}: {path.name} must be JSON. Got {str(path)!r}: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{function_name}: {path.name} must be a JSON object. Got {str(path)!r} with a {type(content).__name__}."
        )
    return content
