"""The parser's messages in one line of plain English."""

import ast
import re

# Lines of jsonargparse's nested messages that name no cause.
NOISE = re.compile(
    r"Does not validate against|Subtypes:|Errors:|Given value|Expected a <class 'NoneType'>|"
    r"Problem with given class_path"
)
EXPECTED = re.compile(r"Expected a (?:<class '(?P<type>\w+)'>|typing\.Literal\[(?P<names>.*?)\])")
KINDS = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "list": "list",
    "dict": "set of keys",
}
PATH = re.compile(r"(?P<path>\w+(?:\.[\w-]+)*): (?P<cause>.*)", re.DOTALL)


def one_line(message: str) -> str:
    """Key and first cause of one of jsonargparse's nested messages."""
    lines = [line.strip().removeprefix("- ").strip() for line in message.splitlines()]
    causes = [line for line in lines if line and not NOISE.match(line)]
    key = re.match(r'Parser key "(.+)":(.*)', causes[0]) if causes else None
    if key:
        cause = _plain(key[2].strip() or " ".join(causes[1:2]), lines)
        inner = PATH.fullmatch(cause)
        entry = _entry(lines, inner["path"], inner["cause"]) if inner else ""
        return f"{key[1]}{entry}.{cause}" if inner else f"{key[1]}: {cause}"
    text = " ".join(causes[:2]) or message
    return re.sub(r"Expected a dot import path string: (\S+)", r"unknown class '\1'", text)


def _plain(cause: str, lines: list[str]) -> str:
    """What a value is and what it should be."""
    expected = EXPECTED.match(cause)
    if not expected:
        return cause
    value = cause.partition("Got value: ")[2] or _given(lines)
    if expected["names"]:
        return f"{value} is none of {expected['names'].replace(chr(39), '')}"
    if value == "None":
        return "nothing to YAML stands there; put the text in quotes, or leave the key out"
    if expected["type"] == "str" and (kind := _kind(value)):
        return f"{value} is {kind}; put it in quotes"
    return f"{value} is no {KINDS.get(expected['type'], expected['type'])}"


def _given(lines: list[str]) -> str:
    given = [line for line in lines if line.startswith("Given value: ")]
    return given[0].removeprefix("Given value: ") if given else "the value"


def _kind(value: str) -> str | None:
    """What YAML took a value for that is to be a text."""
    try:
        parsed = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return None
    if isinstance(parsed, bool):
        return "true or false to YAML"
    return "a number" if isinstance(parsed, (int, float)) else None


def _entry(lines: list[str], path: str, cause: str) -> str:
    """Which entry of a dictionary of options, such as ``tasks``, the cause lies in."""
    if not any(line.startswith("Subtypes: [dict[str") for line in lines):
        return ""
    try:
        given = ast.literal_eval(_given(lines))
    except (ValueError, SyntaxError):  # entries that are right are objects by now
        entry = re.search(r"'([^']+)': \{", _given(lines))
        return f".{entry[1]}" if entry else ""
    wrong = cause.partition(" is ")[0]
    for name, options in given.items() if isinstance(given, dict) else ():
        value = options
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None and wrong in str(value):
            return f".{name}"
    return ""
