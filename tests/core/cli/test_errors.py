# SPDX-License-Identifier: Apache-2.0
"""Whose mistake it was decides about sentence, traceback and exit code."""

import json
from pathlib import Path

import pytest

from conjoin.core.checkpoint import CheckpointError, load
from conjoin.core.cli.errors import UserError, explain
from conjoin.core.optim import Optim


def caught(call):
    with pytest.raises(Exception) as info:  # noqa: PT011  # any: its kind is what is looked at
        call()
    return info.value


def user_error():
    raise UserError("do it\nthis way")


@pytest.fixture(autouse=True)
def _no_debug(monkeypatch):
    monkeypatch.delenv("CONJOIN_DEBUG", raising=False)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (user_error, "do it\nthis way"),
        (lambda: Optim(lr=-1.0), "Optim: lr is -1.0"),
        (lambda: Path("/no/such/file").read_text(), "/no/such/file: No such file or directory"),
        (lambda: load("nowhere.ckpt"), "There is no checkpoint at nowhere.ckpt"),
    ],
)
def test_a_users_mistake_is_a_sentence(call, words, capsys):
    assert explain(caught(call)) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.startswith("conjoin: error: ")
    assert words in out.err
    assert "Traceback" not in out.err


def test_a_foreign_error_is_a_defect_with_its_traceback(capsys):
    assert explain(caught(lambda: json.loads("{"))) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "JSONDecodeError" in err
    assert "please report it" in err


def test_a_plugin_speaks_to_the_user_too(capsys):
    space = {"__name__": "my_plugin.data"}
    exec("def build():\n    raise ValueError('no such pitch')", space)
    error = caught(space["build"])
    assert explain(error) == 1
    assert explain(error, ("conjoin", "my_plugin")) == 2
    assert capsys.readouterr().err.endswith("conjoin: error: no such pitch\n")


def test_debug_shows_the_traceback_of_a_mistake(monkeypatch, capsys):
    monkeypatch.setenv("CONJOIN_DEBUG", "1")
    assert explain(caught(user_error)) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_error_without_words_has_its_name(capsys):
    assert explain(CheckpointError()) == 2
    assert capsys.readouterr().err == "conjoin: error: CheckpointError\n"
