"""Five lines that show a failed check without gradbench."""

import inspect
from pathlib import Path

from gradbench.optimizers.factory import Factory

STEP = "opt.zero_grad(); (p - 2).square().sum().backward(); opt.step()"
CLOSURE = "opt.step({by}lambda: [opt.zero_grad(), l := (p - 2).square().sum(), l.backward()][1])"
LOSS = "opt.zero_grad(); l = (p - 2).square().sum(); l.backward(); opt.step({by}l)"
GO = "for _ in range(60): {step}"

LAST: dict[str, tuple[str, str]] = {
    "moves_parameters": (GO, "assert not torch.equal(p, q)"),
    "lowers_a_loss": (GO, "assert (p - 2).square().sum() < (q - 2).square().sum()"),
    "repeats": (GO, "print(p.tolist())  # twice: the two runs differ"),
    "resumes": (
        "for _ in range(5): {step}",
        "state = opt.state_dict(); opt = {build}; opt.load_state_dict(state); {step}; print(p)",
    ),
    "leaves_nothing_behind": (
        "before = (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled())",
        "{step}; print(before, torch.get_default_dtype(), torch.get_num_threads())",
    ),
    "runs_on_the_device": (
        "p = torch.nn.Parameter(p.detach().to(torch.accelerator.current_accelerator()))",
        "opt = {build}; {step}; print(p)",
    ),
    "steps_groups_as_several_optimizers": (
        "two = {build_of}([{{'params': [p]}}, {{'params': [q]}}]{arguments})",
        "for o in (opt, two): p.grad = q.grad = torch.ones(2, 3); o.step({given}); print(p, q)",
    ),
    "adds_a_group_later": (
        "for _ in range(10): {step}",
        "opt.add_param_group({{'params': [q]}}); q.grad = p.grad; opt.step({given}); print(q)",
    ),
    "accepts_odd_parameters": (
        "r = [torch.nn.Parameter(torch.ones(s)) for s in ((), (0,), (3,))]",
        "opt = {build_of}(r{arguments}); (r[0].sum() + r[1].sum()).backward(); opt.step({given})",
    ),
    "zeroes_gradients_both_ways": (
        "p.grad = torch.ones_like(p); opt.zero_grad(set_to_none=False); print(p.grad)",
        "p.grad = torch.ones_like(p); opt.zero_grad(set_to_none=True); print(p.grad)",
    ),
    "evaluates_a_closure": (
        "calls = []; closure = lambda: calls.append(torch.is_grad_enabled()) or (p * p).sum()",
        "p.grad = torch.ones_like(p); print(opt.step({by}closure), calls)",
    ),
    "calls_hooks": (
        "seen = []; opt.register_step_post_hook(lambda *_: seen.append('step'))",
        "{step}; print(seen)  # once",
    ),
    "loads_its_state_into_another_type": (
        "{step}; w = torch.nn.Parameter(p.detach().double()); new = {build_of}([w]{arguments})",
        "new.load_state_dict(opt.state_dict()); print(new.state[w])  # float64",
    ),
    "loads_its_state_on_another_device": (
        "{step}; w = torch.nn.Parameter(p.detach().to(torch.accelerator.current_accelerator()))",
        "o = {build_of}([w]{arguments}); o.load_state_dict(opt.state_dict()); print(o.state[w])",
    ),
    "goes_on_after_deepcopy": (
        "import copy; {step}; p2, opt2 = copy.deepcopy((p, opt))",
        "for x, o in ((p, opt), (p2, opt2)): x.grad = torch.ones(2, 3); o.step({given}); print(x)",
    ),
    "takes_its_rate_as_a_tensor": (
        "two = {build_of}([q]{others}, {rate_name}=torch.tensor({rate}))",
        "for x, o in 9 * ((p, opt), (q, two)): x.grad = 1 + 0 * x.data; o.step({given}); print(x)",
    ),
    "goes_on_after_pickle": (
        "import pickle; {step}; p2, opt2 = pickle.loads(pickle.dumps((p, opt)))",
        "for x, o in ((p, opt), (p2, opt2)): x.grad = torch.ones(2, 3); o.step({given}); print(x)",
    ),
    "keeps_its_memory": (
        "for _ in range(1000): {step}",
        "print({{key: getattr(v, 'shape', v) for key, v in opt.state[p].items()}})  # it has grown",
    ),
}
"""The fourth and fifth line of each check; others train and print."""


def reproduction(factory: Factory, check: str) -> list[str]:
    """Return five lines of Python that show a failed check without gradbench.

    None for an optimizer that is not built from a list of parameters.
    """
    cls, needs = factory.cls, factory.requirements
    if needs.model or needs.named or needs.lists or needs.groups:
        return []
    module, imports = cls.__module__, ""
    file = Path(inspect.getsourcefile(cls) or "")
    if factory.spec.source is not None and factory.spec.source.endswith(".py"):
        module, imports = file.stem, f"import sys; sys.path.insert(0, {str(file.parent)!r}); "
    given = {**factory.arguments}
    if factory.rate is not None and factory.rate_name:
        given.setdefault(factory.rate_name, factory.rate)
    by = f"{needs.closure_name}=" if needs.closure_name else ""
    each = {name: f", {name}={value!r}" for name, value in given.items()}
    arguments = "".join(each.values())
    closure = (LOSS if needs.loss_value else CLOSURE).format(by=by)
    constant = "torch.ones(())" if needs.loss_value else "lambda: torch.ones(())"
    words = {
        "step": closure if needs.closure else STEP,
        "by": by,
        "given": f"{by}{constant}" if needs.closure else "",
        "others": "".join(text for name, text in each.items() if name != factory.rate_name),
        "rate_name": factory.rate_name,
        "rate": given.get(factory.rate_name),
        "build": f"{cls.__name__}([p]{arguments})",
        "build_of": cls.__name__,
        "arguments": arguments,
    }
    lines = LAST.get(check, (GO, "print(p)"))
    return [
        f"{imports}import torch; from {module} import {cls.__name__}",
        "p, q = (torch.nn.Parameter(torch.linspace(-1, 1, 6).view(2, 3)) for _ in 'pq')",
        f"opt = {words['build']}",
        *(line.format(**words) for line in lines),
    ]
