"""docs/record.schema.json and docs/records.md, checked against real runs."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from gradbench.results.record import FIELDS, Expectation, Outcome, Status

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def schema():
    return json.loads((DOCS / "record.schema.json").read_text())


def test_every_record_of_a_real_run_fits(schema, real_records):
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert len(real_records) > 5
    for record in real_records:
        assert [f"{e.json_path}: {e.message}" for e in validator.iter_errors(record)] == []


def test_a_field_of_another_type_or_name_does_not_fit(schema, real_records):
    validator = Draft202012Validator(schema)
    for change in ({"solved": "3"}, {"new": 1}, {"trials": [{}]}, {"outcome": "good"}):
        assert not validator.is_valid(real_records[0] | change)


def test_the_schema_has_the_records_fields_and_words(schema):
    assert set(schema["properties"]) == set(FIELDS)
    assert set(schema["required"]) == set(FIELDS)
    assert set(schema["properties"]["expectation"]["enum"]) == {e.value for e in Expectation}
    assert set(schema["properties"]["outcome"]["enum"]) == {o.value for o in Outcome}
    assert set(schema["$defs"]["status"]["enum"]) == {s.value for s in Status}


def test_the_page_names_every_field_of_both_files(schema, real_run):
    records, run = (DOCS / "records.md").read_text().split("## run.json")
    assert set(schema["properties"]) <= set(re.findall(r"`(\w+)`", records))
    about = json.loads((real_run / "run.json").read_text())
    assert set(about) == set(re.findall(r"`(\w+)`", run))
