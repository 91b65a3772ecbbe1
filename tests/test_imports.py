"""Imports point one way, and a plugin loaded by every pytest run stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gradbench"

# Which packages and root modules each may import, bottom floor first; "" is gradbench itself.
ALLOWED = {
    "_version": set(),
    "text": set(),
    "torch_state": set(),
    "spec": set(),
    "imports": {"spec"},
    "scenarios": set(),
    "probes": {"scenarios", "text"},
    "theory": {"probes", "scenarios"},
    "results": {"_version", "text"},
    "analysis": {"results"},
    "report": {"analysis", "results", "text"},
    "optimizers": {"imports", "spec", "text", "torch_state"},
    "architectures": {"imports", "scenarios", "spec"},
    "training": {
        *("architectures", "optimizers", "probes", "results", "scenarios", "text", "torch_state"),
    },
    "isolation": {"imports", "results", "scenarios", "training"},
    "protocol": {
        *("analysis", "architectures", "imports", "optimizers", "results", "scenarios", "text"),
        *("torch_state", "training"),
    },
    "engines": {
        *("imports", "isolation", "protocol", "results", "spec", "text", "torch_state"),
    },
    "checks": {
        *("isolation", "optimizers", "protocol", "results", "scenarios", "spec", "text", "timing"),
        *("torch_state", "training"),
    },
    "timing": {"analysis", "optimizers", "protocol", "results", "training"},
    "verification": {
        *(
            "imports",
            "optimizers",
            "protocol",
            "results",
            "spec",
            "text",
            "torch_state",
            "training",
        ),
    },
    "": {"_version", "checks", "protocol", "results", "scenarios", "training"},  # lazily
    "session": {
        *("analysis", "architectures", "engines", "isolation", "optimizers", "protocol", "report"),
        *("results", "spec", "text", "timing", "torch_state", "verification"),
    },
    "cli": {
        *("_version", "analysis", "architectures", "checks", "optimizers", "protocol", "report"),
        *("results", "session", "text", "torch_state", "verification"),
    },
    "__main__": {"cli"},
    "plugin": {"protocol", "results", "session", "timing"},
}


def layer(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {layer(a.name) for a in node.names if a.name.startswith("gradbench")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gradbench"):
            if node.module == "gradbench":
                found |= {a.name if a.name in ALLOWED else "" for a in node.names}
            else:
                found.add(layer(node.module))
    return found


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if "suites" not in p.parts)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    relative = path.relative_to(PACKAGE)
    name = relative.parts[0].removesuffix(".py").replace("__init__", "")
    assert imports(path) - {name} <= ALLOWED[name]


def test_every_row_of_the_table_is_used():
    used = {name: set() for name in ALLOWED}
    for path in MODULES:
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py").replace("__init__", "")
        used[name] |= imports(path) - {name}
    assert used == ALLOWED


def test_modules_of_a_package_import_each_other_one_way():
    inside = {str(path.relative_to(PACKAGE)): within(path) for path in MODULES}
    while inside:
        free = [name for name, requirements in inside.items() if not requirements & set(inside)]
        assert free, f"a cycle among {sorted(inside)}"
        for name in free:
            del inside[name]


def within(path: Path) -> set[str]:
    """Return the files of the package that a module imports when it is loaded."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    files = {Path(*name.split(".")[1:]).with_suffix(".py") for name in names if "." in name}
    return {str(f) for f in files if (PACKAGE / f).exists()} - {str(path.relative_to(PACKAGE))}


def test_the_table_has_no_cycle_but_for_the_root():
    below = {name: set(allowed) - {name} for name, allowed in ALLOWED.items() if name}
    order: list[str] = []
    while below:
        free = [name for name, requirements in below.items() if not requirements & set(below)]
        assert free, f"a cycle among {sorted(below)}"
        order += free
        for name in free:
            del below[name]
    assert order.index("results") < order.index("training") < order.index("plugin")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_session_plugin_command_and_checks_import_pytest(path):
    relative = path.relative_to(PACKAGE)
    if (
        relative.parts[0] in {"session", "plugin.py", "cli.py"}
        or str(relative) == "checks/optimizer.py"
    ):
        return
    tree = ast.walk(ast.parse(path.read_text()))
    names = [a.name for node in tree if isinstance(node, ast.Import) for a in node.names]
    assert "pytest" not in names


def test_the_packages_on_the_way_to_the_plugin_are_docstrings():
    for name in ("session", "protocol", "results", "timing", "engines", "optimizers"):
        tree = ast.parse((PACKAGE / name / "__init__.py").read_text())
        assert len(tree.body) == 1
        assert ast.get_docstring(tree)


@pytest.mark.parametrize("module", ["gradbench", "gradbench.plugin", "gradbench.protocol.case"])
def test_no_torch_until_a_case_runs(module):
    program = f"import sys, {module}; assert not {{'torch', 'numpy', 'scipy'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


PLAIN = """
import sys

def test_plain():
    ours = sorted(name for name in sys.modules if name.startswith("gradbench."))
    names = ("_version", "plugin", "session", "session.declared_options")
    assert ours == [f"gradbench.{name}" for name in names]
    assert not {"torch", "numpy", "jinja2"} & set(sys.modules)
"""


@pytest.mark.parametrize(
    "without", ["terminal", "cacheprovider", "skipping", "logging", "unittest"]
)
def test_a_project_without_cases_gets_two_small_modules_and_needs_no_other_plugin(
    tmp_path, without
):
    (tmp_path / "test_plain.py").write_text(PLAIN)
    command = [sys.executable, "-m", "pytest", "-p", f"no:{without}", "-p", "no:benchmark"]
    command += ["-p", "no:hypothesispytest", "--rootdir=.", "-c", "/dev/null", "test_plain.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_name_is_resolved_without_what_takes_seconds_to_import():
    program = """if True:
        import sys
        from torch.optim import Optimizer
        import gradbench.protocol.run_item, gradbench.scenarios.steps
        from gradbench.optimizers.factory import resolve

        marked = Optimizer.add_param_group
        factory = resolve("lbfgs")
        assert not {"torch._dynamo", "scipy.special", "scipy.optimize"} & set(sys.modules)
        assert Optimizer.add_param_group is marked
        assert factory.requirements.closure
    """
    subprocess.run([sys.executable, "-c", program], check=True)


def test_public_names_exist():
    import gradbench

    assert all(getattr(gradbench, name) for name in gradbench.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gradbench.nothing
