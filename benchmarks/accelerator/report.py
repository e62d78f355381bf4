"""The page in Markdown, from the file of results alone."""

from collections.abc import Iterable, Iterator

from benchmarks.accelerator.journal import Attempt
from benchmarks.accelerator.plan import PARTS, Part


def report(title: str, attempts: dict[str, Attempt], parts: Iterable[Part] = PARTS) -> str:
    """The page: a section for every part of the plan, whether it was run or not."""
    lines = [f"# {title}"]
    for part in parts:
        attempt = attempts.get(part.name)
        lines += ["", f"## {part.name}: {part.about}", "", how_it_ended(attempt)]
        lines += [] if attempt is None else of_results(attempt.results)
    return "\n".join(lines) + "\n"


def how_it_ended(attempt: Attempt | None) -> str:
    """One sentence about a part."""
    if attempt is None:
        return "Not measured."
    begin = attempt.begin
    when = ", ".join(filter(None, (begin["time"], begin["commit"], "quick" if begin["quick"] else "")))
    if attempt.end is None:
        return f"Interrupted; what it had measured follows ({when})."
    outcome, seconds = attempt.end["outcome"], f"{attempt.end['seconds']:.0f} s"
    if outcome == "done":
        return f"Done in {seconds} ({when})."
    reason = attempt.end["reason"].rstrip(".")
    return f"{outcome.capitalize()}: {reason}. What it had measured follows ({seconds}, {when})."


def of_results(results: list[dict]) -> Iterator[str]:
    """Notes, the checks as one table, every other table, and texts."""
    for result in results:
        if result["event"] == "note":
            yield from ("", result["text"])
    yield from of_checks([result for result in results if result["event"] == "check"])
    rows = [result for result in results if result["event"] == "row"]
    for title in dict.fromkeys(row["table"] for row in rows):
        yield from ("", f"### {title}", "")
        yield from table([row["cells"] for row in rows if row["table"] == title])
    for result in results:
        if result["event"] == "text":
            yield from ("", f"### {result['title']}", "", "```text", result["text"], "```")


def of_checks(checks: list[dict]) -> Iterator[str]:
    """How many checks each subject passed, and the failures one by one."""
    if not checks:
        return
    yield ""
    subjects = dict.fromkeys(check["subject"] for check in checks)
    by_subject = {subject: [check["ok"] for check in checks if check["subject"] == subject] for subject in subjects}
    yield from table(
        [{"subject": subject, "checks": len(oks), "failed": len(oks) - sum(oks)} for subject, oks in by_subject.items()]
    )
    details = [check for check in checks if check["detail"]]
    if details:
        yield ""
    for check in details:
        mark = "" if check["ok"] else "FAILED: "
        yield f"- {mark}{check['subject']}, {check['name']}: {check['detail']}"


def table(rows: list[dict]) -> Iterator[str]:
    """A table of Markdown; a row without a column leaves it empty."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(cell(row[column]) if column in row else '' for column in columns)} |"


def cell(value) -> str:
    """A value as text: numbers with three digits, None as "not measured"."""
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value).replace("|", "\\|")
