"""The grammar of optimizer specs: parses a text into its parts, without imports."""

import ast
import re
from dataclasses import dataclass
from typing import Any

SHAPE = "[module:|file.py:]Name[:key=value,...][+...]"
_JOINT = re.compile(r"\+(?=[^\W\d]|[./~])")
_SPEC = re.compile(
    r"(?:(?P<source>.+?\.py|[^\W\d][\w.]*):)?(?P<name>[^\W\d]\w*)(?::(?P<arguments>.*))?",
    re.DOTALL,
)


class SpecError(ValueError):
    """A spec that cannot be used; its message is one line a user can act on."""


@dataclass(frozen=True)
class Spec:
    """The parts of `[module:|file.py:]Name[:key=value,...]`, and the specs added with `+`."""

    text: str
    source: str | None
    name: str
    arguments: dict[str, Any]
    added: tuple["Spec", ...] = ()
    """Wrappers, from the inside out, and schedules."""

    @property
    def slug(self) -> str:
        """The spec in letters, digits and hyphens, for ids and folder names."""
        tail = self.text.removeprefix(f"{self.source}:") if self.source else self.text
        return re.sub(r"[^A-Za-z0-9]+", "-", tail).strip("-")


def parse(text: str) -> Spec:
    """Parse an optimizer spec; values are Python literals.

    >>> parse("sgd:lr=0.1,momentum=0.9").arguments
    {'lr': 0.1, 'momentum': 0.9}
    >>> parse("./lab/opt.py:MyOpt").source
    './lab/opt.py'
    >>> [part.name for part in parse("adamw:lr=1e-3+sam:rho=0.05+cosine").added]
    ['sam', 'cosine']

    Raises SpecError where the text does not follow the grammar.
    """
    first, *added = _parts(text.strip())
    spec = _one(first)
    return Spec(text.strip(), spec.source, spec.name, spec.arguments, tuple(map(_one, added)))


def _parts(text: str) -> list[str]:
    """Split at each `+` that begins a name, outside of brackets and quotes."""
    parts, begin, depth, quote = [], 0, 0, ""
    for index, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif depth == 0 and _JOINT.match(text, index) and _SPEC.fullmatch(text[begin:index]):
            parts.append(text[begin:index])
            begin = index + 1
    return [*parts, text[begin:]]


def _one(text: str) -> Spec:
    match = _SPEC.fullmatch(text)
    if match is None:
        raise SpecError(f"{text!r} is no optimizer spec; write {SHAPE}, e.g. sgd:lr=0.1")
    arguments = _arguments(text, match["arguments"])
    return Spec(text, match["source"], match["name"], arguments)


def _arguments(text: str, source: str | None) -> dict[str, Any]:
    """Parse `key=value,...` as keywords of a Python call: commas in brackets do not split."""
    if source is None:
        return {}
    try:
        call = ast.parse(f"f({source})", mode="eval").body
    except SyntaxError:
        raise SpecError(f"{text!r}: write the arguments as key=value,...: {source!r}") from None
    if not isinstance(call, ast.Call) or call.args or not call.keywords:
        raise SpecError(f"{text!r}: write the arguments as key=value,...: {source!r}")
    arguments: dict[str, Any] = {}
    for keyword in call.keywords:
        written = ast.unparse(keyword.value)
        if keyword.arg is None or keyword.arg in arguments:
            raise SpecError(f"{text!r}: each argument is named once, as key=value")
        try:
            arguments[keyword.arg] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError):
            raise SpecError(
                f"{text!r}: the value of {keyword.arg} is no Python literal: {written} "
                f"(a number, True, None, (0.9, 0.99), or a quoted string)"
            ) from None
    return arguments


def labels(specs: list[Spec]) -> list[str]:
    """Return one distinct slug per spec, numbered where two would be the same."""
    taken: set[str] = set()
    result = []
    for spec in specs:
        label, number = spec.slug, 2
        while label in taken:
            label, number = f"{spec.slug}-{number}", number + 1
        taken.add(label)
        result.append(label)
    return result
