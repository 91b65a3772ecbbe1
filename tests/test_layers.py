"""Imports point one way, and a plugin loaded by every pytest run stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gradbench"

# What each module may import of the package; "" is gradbench itself (its version).
ALLOWED = {
    "__main__": {"cli"},
    "": {"case", "record", "runner", "scenario", "trial"},  # lazily
    "shape": set(),
    "brief": {"glance", "record", "text"},
    "glance": {"record", "shape"},
    "text": set(),
    "record": {"shape", "text"},
    "statistics": set(),
    "clock": set(),
    "costs": {"optimizers"},
    "stepcost": {"clock", "optimizers", "stepping"},
    "spec": set(),
    "tuning": set(),
    "live": set(),
    "evolution": set(),
    "verdict": {"record"},
    "case": {
        "imports",
        "record",
        "scenario",
    },  # the scenario for its type, and where a case is built
    "draws": set(),
    "scenario": {"draws"},
    "networks": {"draws"},
    "scenarios": {"draws", "scenario", "networks"},
    "probes": {"draws", "scenario", "scenarios"},
    "trial": {"record", "scenario"},
    "problem": {"scenario", "streams", "trial"},
    "needs": set(),
    "signatures": {"needs"},
    "stepping": {"needs"},
    "detect": {"needs", "signatures", "stepping", "streams"},
    "zoo": set(),
    "wrappers": {"needs"},
    "schedules": set(),
    "imports": {"spec"},
    "space": set(),
    "gallery": {"draws", "networks"},
    "architectures": {"draws", "gallery", "imports", "scenario", "spec"},
    "optimizers": {
        *("detect", "imports", "needs", "schedules", "signatures", "space", "spec", "tuning"),
        *("wrappers", "zoo"),
    },
    "watching": {"probes", "record", "scenario", "trial"},
    "streams": {"draws", "trial"},
    "batches": {"scenario", "streams", "trial"},
    "training": {
        "text",
        *(
            "architectures",
            "batches",
            "clock",
            "needs",
            "optimizers",
            "record",
            "stepping",
            "scenario",
            "streams",
            "trial",
            "watching",
        ),
    },
    "stack": {
        *("optimizers", "record", "scenario", "stack", "streams", "training", "trial"),
    },
    "runner": {
        *("architectures", "batches", "clock", "optimizers", "record", "stack", "streams"),
        *("training", "trial"),
    },
    "item": {"case", "scenario"},
    "attempt": {
        *("item", "optimizers", "record", "runner", "scenario", "space", "trial", "tuning"),
    },
    "running": {
        "text",
        *(
            "architectures",
            "attempt",
            "draws",
            "item",
            "optimizers",
            "record",
            "runner",
            "scenario",
        ),
        *("statistics", "trial", "tuning", "verdict", "weights"),
    },
    "theory": {"probes", "scenarios"},
    "proof": {"case", "draws", "record", "runner", "scenario", "streams", "trial"},
    "settings": set(),
    "leftovers": {"settings"},
    "canary": {"record", "runner", "scenarios", "trial"},
    "work": {"canary", "item", "leftovers", "record", "running", "settings", "streams"},
    "worker": {"running", "work"},
    "processes": {"worker"},
    "on_dask": {"running", "work"},
    "on_slurm": set(),
    "engine": {
        *("imports", "item", "on_dask", "on_slurm", "processes", "settings", "spec", "work"),
    },
    "dispatch": {"engine", "item", "live", "running", "work"},
    "sources": set(),
    "resume": {"architectures", "item", "optimizers", "record", "runs", "sources", "weights"},
    "closing": {"folder", "item", "record", "report", "running", "streams"},
    "options_matter": {"detect", "optimizers", "signatures", "stepping", "streams"},
    "check": {
        "canary",
        "detect",
        "leftovers",
        "optimizers",
        "options_matter",
        "record",
        "runner",
        "scenarios",
        "streams",
        "training",
        "trial",
    },
    "steptime": {"case", "record", "runner", "statistics", "trial"},
    "weights": set(),
    "folder": {"text", "record", "weights", ""},
    "news": {"folder", "item", "record"},
    "guest": {"optimizers", "stepping", "streams"},
    "witness": {
        *("guest", "item", "needs", "news", "optimizers", "record", "streams", "training", "trial"),
        "weights",
    },
    "compare": {"record", "statistics"},
    "baseline": {"text", "compare", "record", "statistics", "verdict"},
    "gate": {
        *("baseline", "case", "compare", "judge", "options", "record", "screen"),
        *("steptime", "streams"),
    },
    "runs": {"brief", "compare", "folder", "record", "text", "verdict"},
    "history": {"compare", "record", "runs", "statistics"},
    "report": {"text", "brief", "record", "statistics", "compare", "history", "report"},
    "discover": {"case"},
    "options": {"declared", "spec"},
    "judge": {"text", "record", "verdict"},
    "replay": {"record"},
    "screen": set(),
    "dryrun": {"item", "running", "streams"},
    "session": {
        "text",
        *(
            "architectures",
            "case",
            "closing",
            "costs",
            "dispatch",
            "dryrun",
            "engine",
            "folder",
            "gate",
            "item",
            "judge",
            "live",
            "news",
            "optimizers",
            "options",
            "signals",
            "work",
        ),
        *("problem", "record", "replay", "report", "resume", "screen", "spec"),
    },
    "declared": set(),
    "signals": set(),
    "collection": {"case", "options", "replay", "session"},
    "plugin": {
        *("collection", "costs", "declared", "discover", "options", "record", "screen"),
        "session",
    },
    "cli": {
        *(
            "",
            "text",
            "declared",
            "architectures",
            "case",
            "check",
            "compare",
            "discover",
            "history",
            "optimizers",
        ),
        *("record", "report", "runs", "streams"),
    },
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
                below = {a.name for a in node.names if (PACKAGE / f"{a.name}.py").exists()}
                found |= below or {""}
            else:
                found.add(layer(node.module))
    return found


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if "suites" not in p.parts)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    relative = path.relative_to(PACKAGE)
    name = relative.parts[0].removesuffix(".py").replace("__init__", "")
    assert imports(path) - {name} <= ALLOWED[name] - {name}


def test_the_table_has_no_cycle_but_for_the_root():
    below = {name: set(allowed) - {name} for name, allowed in ALLOWED.items() if name}
    order: list[str] = []
    while below:
        free = [name for name, needs in below.items() if not needs & set(below)]
        assert free, f"a cycle among {sorted(below)}"
        order += free
        for name in free:
            del below[name]
    assert order.index("record") < order.index("runner") < order.index("plugin")


@pytest.mark.parametrize("module", ["gradbench", "gradbench.plugin", "gradbench.case"])
def test_no_torch_until_a_case_runs(module):
    program = f"import sys, {module}; assert not {{'torch', 'numpy', 'scipy'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


PLAIN = """
import sys

def test_plain():
    ours = sorted(name for name in sys.modules if name.startswith("gradbench."))
    assert ours == ["gradbench.declared", "gradbench.plugin"]
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
        import gradbench.running, gradbench.scenarios.steps
        from gradbench.optimizers import resolve

        marked = Optimizer.add_param_group
        factory = resolve("lbfgs")
        assert not {"torch._dynamo", "scipy.special", "scipy.optimize"} & set(sys.modules)
        assert Optimizer.add_param_group is marked
        assert factory.needs.closure
    """
    subprocess.run([sys.executable, "-c", program], check=True)


def test_public_names_exist():
    import gradbench

    assert all(getattr(gradbench, name) for name in gradbench.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gradbench.nothing
