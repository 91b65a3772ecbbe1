"""Classes and functions stay short enough to be read at once."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gradbench"
MOST = {ast.ClassDef: 200, ast.FunctionDef: 40}
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if "suites" not in p.parts)


def too_long(source: str) -> list[str]:
    """Return the classes and functions of more lines than they may have."""
    return [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(source))
        if type(node) in MOST and node.end_lineno - node.lineno + 1 > MOST[type(node)]
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_classes_have_at_most_200_lines_and_functions_40(path):
    assert not too_long(path.read_text())


def test_a_function_of_41_lines_is_found():
    assert too_long("def f():\n" + "    x = 1\n" * 40) == ["f: 41 lines"]
    assert not too_long("def f():\n" + "    x = 1\n" * 39)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_over_250_lines_says_why_it_is_one(path):
    source = path.read_text()
    docstring = ast.get_docstring(ast.parse(source)) or ""
    assert len(source.splitlines()) <= 250 or "\n\nOne file: " in docstring
