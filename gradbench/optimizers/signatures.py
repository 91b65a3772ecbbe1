"""Guesses, from an optimizer's signatures and source, of how it is built and stepped.

`detection` tries each guess on a toy network before it is used.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from torch.optim import Optimizer

from gradbench.optimizers.requirements import Requirements, Split
from gradbench.spec import Spec, SpecError

STEPS = {
    *("num_iterations", "total_steps", "num_steps", "max_steps", "total_iterations", "n_steps"),
    *("num_training_steps", "training_steps", "total_iters", "max_iters", "num_iters", "t_max"),
    *("iterations", "n_iterations", "max_iterations", "steps", "total_training_steps"),
}
EPOCHS = {"epochs", "num_epochs", "n_epochs", "max_epochs", "total_epochs"}
BATCHES = {
    *("num_batches_per_epoch", "batches_per_epoch", "steps_per_epoch", "iters_per_epoch"),
    *("num_batches", "n_batches", "iterations_per_epoch", "num_steps_per_epoch"),
}
EXAMPLES = {
    *("num_data", "dataset_size", "num_examples", "n_data", "n_examples", "train_size"),
    *("data_size", "num_samples", "n_samples", "num_train_examples"),
}
MODELS = {"model", "net", "network", "module"}
REST = ("adam", "lion", "sgd", "rest", "other", "scalar", "vector", "1d", "aux", "embed", "backup")
"""Parts of names that denote the parameters other than hidden matrices."""


def parameters_of(cls: type[Optimizer]) -> list[inspect.Parameter]:
    """Return the constructor's parameters, from the first class of the MRO that names any."""
    for base in cls.__mro__:
        if "__init__" in vars(base) and base is not Optimizer:
            found = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
            if any(p.kind is not p.VAR_KEYWORD and p.kind is not p.VAR_POSITIONAL for p in found):
                return found
    return list(inspect.signature(cls).parameters.values())


def required(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a function that have no default."""
    return _required(list(inspect.signature(function).parameters.values()))


def _required(parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p for p in parameters if p.default is p.empty and p.kind not in variable]


def counts(parameters: list[inspect.Parameter]) -> dict[str, Any]:
    """Return the parameters that take the length of the training, by field of `Requirements`."""
    usual = {"steps": STEPS, "epochs": EPOCHS, "batches": BATCHES, "examples": EXAMPLES}
    names = [p.name for p in parameters]
    return {
        field: next((name for name in names if name.lower() in known), "")
        for field, known in usual.items()
    }


def counts_by_default_none(cls: type[Optimizer]) -> dict[str, Any]:
    """Return `counts` of the constructor's parameters without a default or with default None."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [p for p in parameters_of(cls) if p.kind not in variable][1:]
    return counts([p for p in named if p.default is p.empty or p.default is None])


def seen(cls: type[Optimizer]) -> Requirements:
    """Return the requirements suggested by the class's signatures and by its method names."""
    parameters = parameters_of(cls)
    given = _required(parameters)
    first = given[0].name if given else ""
    return Requirements(
        # a parameter of `step` without a default must be the closure
        closure=bool(required(cls.step)[1:]),
        closure_name=_closure_name(cls),
        model=first in MODELS,
        named="named" in first,
        lists=_lists(parameters),
        **counts(given[1:]),
        modes=all(callable(getattr(cls, name, None)) for name in ("train", "eval")),
        fused=callable(getattr(cls, "fused_backward", None)),
    )


def _closure_name(cls: type[Optimizer]) -> str:
    """Return the keyword by which `step` takes its closure; empty where it takes it by position."""
    parameters = list(inspect.signature(cls.step).parameters.values())[1:]
    if not parameters:
        return ""
    named = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    first = parameters[0]
    if first.kind is first.VAR_KEYWORD:
        return "closure"
    if first.kind is first.KEYWORD_ONLY:
        return "closure" if "closure" in named else first.name
    behind = "closure" in {p.name for p in parameters[1:]} and first.default is not first.empty
    return "closure" if behind else ""


def _lists(parameters: list[inspect.Parameter]) -> tuple[str, ...]:
    """Return the two arguments that take parameters, matrices first; empty unless there are two."""
    found = [
        p.name
        for p in parameters
        if p.name.endswith(("_params", "_parameters"))
        and not p.name.startswith(("lr", "named"))
        and (p.default is p.empty or p.default is None)
    ]
    if len(found) != 2:
        return ()
    return tuple(sorted(found, key=_is_rest))


def _is_rest(value: object) -> bool:
    return any(part in str(value).lower() for part in REST)


def splits(cls: type[Optimizer]) -> list[Split]:
    """Return the keys by which the class's source distinguishes parameter groups.

    A key that is compared with two or more strings has two of them as values, for matrices and for
    the rest; a key that is only tested for truth is boolean. Constructor options are excluded.
    """
    options = {p.name for p in parameters_of(cls)}
    tested: dict[str, None] = {}
    compared: dict[str, dict[str, None]] = {}
    for node in _nodes(cls):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            constants = [side.value for side in sides if isinstance(side, ast.Constant)]
            words = dict.fromkeys(value for value in constants if isinstance(value, str))
            for side in sides:
                if (name := _key(side)) is not None:
                    compared.setdefault(name, {}).update(words)
        tests = [node.test] if isinstance(node, ast.If | ast.IfExp | ast.Assert) else []
        for test in tests:
            bare = test.operand if isinstance(test, ast.UnaryOp) else test
            if (name := _key(bare)) is not None:
                tested[name] = None
    found: list[Split] = []
    for key, values in compared.items():
        if len(values) > 1 and key not in options:
            ordered = sorted(values, key=_is_rest)
            found.append((key, ordered[0], ordered[-1]))
    return found + [key for key in tested if key not in options and key not in compared]


def _nodes(cls: type[Optimizer]) -> Iterator[ast.AST]:
    for base in cls.__mro__:
        if base is Optimizer or base.__module__.startswith("torch."):
            break
        try:
            yield from ast.walk(ast.parse(textwrap.dedent(inspect.getsource(base))))
        except (OSError, TypeError, SyntaxError):  # made at run time
            continue


def _key(node: ast.AST) -> str | None:
    """Return the constant key of `group[key]` or `group.get(key)`; else None."""
    inner: ast.AST | None = None
    if isinstance(node, ast.Subscript):
        inner = node.slice
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        inner = node.args[0] if node.func.attr in {"get", "setdefault"} else None
    if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
        return inner.value
    return None


def check_keywords(spec: Spec, signature: inspect.Signature, *, first: bool = True) -> None:
    """Raise SpecError for an unknown argument; `first` excludes the callable's first parameter."""
    parameters = list(signature.parameters.values())[int(first) :]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    takes = [p.name for p in parameters]
    for key in spec.arguments:
        if key not in takes:
            raise SpecError(
                f"{spec.text!r}: {spec.name} has no argument {key!r}; it takes {', '.join(takes)}"
            )


def named_once(cls: type[Any]) -> list[inspect.Parameter]:
    """Return the constructor's parameters, each once, in an order that is valid in a signature."""
    own = list(inspect.signature(cls).parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in own):  # a subclass that hands its arguments on
        names = {p.name for p in own}
        own += [p for p in parameters_of(cls) if p.name not in names]
        own = [p.replace(kind=p.KEYWORD_ONLY) if p.kind is not p.VAR_KEYWORD else p for p in own]
        return sorted(
            (p for p in own if p.kind is not p.VAR_POSITIONAL),
            key=lambda p: p.kind is p.VAR_KEYWORD,
        )
    return own
