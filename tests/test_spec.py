import pytest

from gradbench.spec import SpecError, labels, parse


@pytest.mark.parametrize(
    ("text", "source", "name", "arguments"),
    [
        ("adam", None, "adam", {}),
        ("sgd:lr=0.1,momentum=0.9", None, "sgd", {"lr": 0.1, "momentum": 0.9}),
        ("torch.optim:AdamW", "torch.optim", "AdamW", {}),
        ("torch.optim:AdamW:lr=1e-3", "torch.optim", "AdamW", {"lr": 1e-3}),
        ("./my_opt.py:MyOpt:lr=3e-4", "./my_opt.py", "MyOpt", {"lr": 3e-4}),
        ("../a b/o.py:MyOpt", "../a b/o.py", "MyOpt", {}),
        ("adam:betas=(0.9,0.99),eps=1e-5", None, "adam", {"betas": (0.9, 0.99), "eps": 1e-5}),
        ("x:flag=True,name='a:b=c',n=-1", None, "x", {"flag": True, "name": "a:b=c", "n": -1}),
    ],
)
def test_the_parts_of_a_spec(text, source, name, arguments):
    spec = parse(text)
    assert (spec.source, spec.name, spec.arguments) == (source, name, arguments)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no optimizer spec"),
        ("1adam", "is no optimizer spec"),
        ("adam lr=1", "is no optimizer spec"),
        ("adam:", "key=value"),
        ("adam:0.1=lr", "key=value"),
        ("adam:lr=", "key=value"),
        ("adam:lr=fast", "no Python literal: fast"),
        ("adam:lr=1e-3*2", "no Python literal"),
        ("adam:lr=1,lr=2", "named once"),
        ("adam:**x", "named once"),
        ("adam:lr=1,3", "key=value"),
    ],
)
def test_what_is_no_spec_is_said_in_one_line(text, says):
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_may_have_the_letters_that_python_allows():
    spec = parse("./lab/opt.py:Ärger:lr=0.1+Öl")
    assert (spec.source, spec.name, spec.arguments) == ("./lab/opt.py", "Ärger", {"lr": 0.1})
    assert [part.name for part in spec.added] == ["Öl"]
    assert parse("größe.optim:Maß").source == "größe.optim"


def test_slugs_hold_letters_digits_and_hyphens():
    specs = [parse(t) for t in ("./a/o.py:Mine:lr=3e-4", "adam:betas=(0.9,0.99)", "m.n:Opt")]
    assert labels(specs) == ["Mine-lr-3e-4", "adam-betas-0-9-0-99", "Opt"]


def test_labels_are_distinct_where_slugs_are_not():
    specs = [parse(t) for t in ("a:Opt", "b:Opt", "c:Opt", "opt")]
    assert labels(specs) == ["Opt", "Opt-2", "Opt-3", "opt"]
