"""What comes from outside cannot speak to a terminal or a page, and files are written whole."""

import re
import threading

import pytest

from gradbench.report.markdown import page
from gradbench.report.terminal import table
from gradbench.text import error_line, printable, write_whole

EVIL = "a\x1b]0;owned\x07\x9b31m<img src=x onerror=alert(1)>|`\u202e\n"


@pytest.fixture
def evil(record, about):
    """A record and a run.json whose every text is hostile."""
    point = {"lr": 0.1, "seed": -1, "score": 0.5, "status": "solved", "hyperparameters": {EVIL: 1}}
    found = record(
        case=EVIL,
        optimizer=EVIL,
        notes=[EVIL],
        tuning=[point],
        hyperparameters={"lr": 0.1, EVIL: 1.0},
    )
    found.timing["clock"] = EVIL
    return found, about | {"optimizers": [EVIL], "cpu": EVIL, "preset": EVIL, "dtype": EVIL}


def test_markdown_has_no_tag_and_no_control_character(evil):
    record, about = evil
    text = page([about], [record], [EVIL])
    assert "<img" not in re.sub("`[^`]*`", "", text)  # code is shown as it is
    assert all(letter.isprintable() or letter == "\n" for letter in text)


def test_an_exception_that_cannot_say_what_it_is_is_named():
    class BrokenError(ValueError):
        def __str__(self):
            raise RuntimeError("no words")

    assert error_line(BrokenError()) == "BrokenError: its message raises RuntimeError"
    assert error_line(ValueError()) == "ValueError: "


def test_a_table_has_no_control_character(evil):
    assert all(letter.isprintable() or letter == "\n" for letter in table([evil[0]]))


def test_printable_text_is_kept():
    assert printable("Größe 3 λ, 日本") == "Größe 3 λ, 日本"
    assert printable("\x1b[31m") == "\\x1b[31m"


def test_writers_of_one_file_do_not_meet_and_leave_nothing(tmp_path):
    texts = [str(number) * 100_000 for number in range(8)]
    threads = [
        threading.Thread(target=write_whole, args=(tmp_path / "file", text)) for text in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file").read_text() in texts
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="file"):
        write_whole(tmp_path / "file", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
