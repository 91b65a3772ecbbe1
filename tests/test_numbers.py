"""No number is asked whether it is true: 0 evaluations, a rate of 0.0 and no score are not alike.

A number may be compared, or asked whether it is None. What is a number is taken from annotations
(parameters, attributes, properties) and from the names of the numbers in records.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import gradbench

PACKAGE = Path(gradbench.__file__).parent
NUMBER = {"int", "float", "int | None", "float | None"}
IN_RECORDS = {
    *("median", "q1", "q3", "mean", "score", "value", "error", "bound", "lr", "seed", "seconds"),
    *("evaluations", "gradient_evaluations", "forward_evaluations", "evaluations_to_target"),
    *("seconds_to_target", "final_score", "peak_memory_bytes", "probe_seconds", "wall_seconds"),
    *("case_seconds", "first_step_seconds"),
}
TREES = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def is_number(annotation: ast.expr | None) -> bool:
    return annotation is not None and ast.unparse(annotation) in NUMBER


@cache
def attributes() -> set[str]:
    """Return the names of attributes and properties that are numbers wherever they occur."""
    classes = [n for tree in TREES.values() for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for entry in (entry for each in classes for entry in each.body):
        if isinstance(entry, ast.AnnAssign):
            found[is_number(entry.annotation)].add(ast.unparse(entry.target))
        if isinstance(entry, ast.FunctionDef):
            found[is_number(entry.returns)].add(entry.name)
    return found[True] - found[False]


def asked(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield each expression whose truth is asked."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
            yield node.test
        elif isinstance(node, ast.BoolOp):
            yield from node.values
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node.operand
        elif isinstance(node, ast.comprehension):
            yield from node.ifs
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "bool":
            yield from node.args


def key(node: ast.expr) -> object:
    """Return the constant of `x[constant]` and `x.get(constant)`."""
    found: ast.expr | None = None
    if isinstance(node, ast.Subscript):
        found = node.slice
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        found = node.args[0] if node.func.attr == "get" else None
    return found.value if isinstance(found, ast.Constant) else None


def truths(tree: ast.AST, named: set[str]) -> Iterator[str]:
    """Yield a line for each number whose truth is asked."""
    for node in asked(tree):
        bare = node.value if isinstance(node, ast.NamedExpr) else node
        attribute = isinstance(bare, ast.Attribute) and bare.attr in named
        if attribute or key(bare) in named | IN_RECORDS:
            yield f"line {node.lineno}: {ast.unparse(node)}"
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            own = {
                a.arg
                for a in ast.walk(function)
                if isinstance(a, ast.arg) and is_number(a.annotation)
            }
            for node in asked(function):
                if isinstance(node, ast.Name) and node.id in own:
                    yield f"line {node.lineno}: {node.id}"


@pytest.mark.parametrize("path", TREES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_truth_of_no_number_is_asked(path):
    assert not list(truths(TREES[path], attributes()))


@pytest.mark.parametrize(
    "source",
    [
        "t['evaluations_to_target'] or budget",
        "[t for t in trials if t.get('seconds')]",
        "if not result.seeds: pass",
        "if (score := trial.get('score')) and True: pass",
        "def f(rate: float | None): return rate or 1.0",
        "bool(record.solved)",
    ],
)
def test_the_reading_of_sources_finds_each_kind(source):
    assert list(truths(ast.parse(source), {"seeds", "solved"}))
