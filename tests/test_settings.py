"""Settings: every field refuses what is of another kind or out of range, in Python, in files and as a flag."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from minifer import config
from minifer.allowed import Maybe, Record, Several, Switch, Text, Whole, checked, like
from minifer.cli import main
from minifer.config import PRESETS, TrainConfig
from minifer.errors import ConfigError

FIELDS = {field.name: field for field in dataclasses.fields(TrainConfig)}
NUMBERS = [name for name, field in FIELDS.items() if type(field.default) in (int, float)]


def refusal(**changes):
    with pytest.raises(ConfigError) as caught:
        TrainConfig(**changes)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    return str(caught.value)


@pytest.mark.parametrize("name", FIELDS)
def test_wrong_kinds(name):
    for value in ({}, {"a": 1}, object(), b"x", [[]], np.ones(3), np.array(["a"]), 1j, "\0", "x" * 5000):
        assert f"{name} is " in refusal(**{name: value}) and "it must be" in refusal(**{name: value})
    if name != "attention_blocks":
        refusal(**{name: None})
    if not isinstance(FIELDS[name].default, bool):
        refusal(**{name: True})
    if not isinstance(FIELDS[name].default, str):
        refusal(**{name: "1"})


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_out_of_range(name):
    for value in (float("nan"), float("inf"), -float("inf"), -1, 10**30, 10**5000, np.float64("nan"), np.int64(-5)):
        assert name in refusal(**{name: value})
    if isinstance(FIELDS[name].default, int):
        assert "it must be" in refusal(**{name: FIELDS[name].default + 0.0})


def test_what_is_allowed_is_said():
    assert refusal(alpha=1e9) == "alpha is 1000000000.0: it must be a number from 0.01 to 8"
    assert refusal(heads=99999999) == "heads is 99999999: it must be a whole number from 1 to 64"
    assert refusal(flip=1) == "flip is 1: it must be true or false"
    assert (
        refusal(model="vgg")
        == "model is 'vgg': it must be one of plain, skip, mha, v2, v3, v3-small, or file.py:name of your own"
    )
    assert "each a whole number from 1 to 13" in refusal(attention_blocks=(0,))
    assert "a number of thousands of digits" in refusal(seed=10**5000)


@pytest.mark.parametrize(
    "blocks", [(), (0,), (14,), (1.0,), ("1",), (True,), range(1, 10**12), itertools.count(1), "6"]
)
def test_blocks_that_are_none(blocks):
    assert "attention_blocks" in refusal(attention_blocks=blocks)


def test_numbers_of_numpy_become_plain_ones():
    settings = TrainConfig(alpha=np.float32(0.5), epochs=np.int64(3), dropout=0, attention_blocks=np.array([6, 7]))
    assert settings == TrainConfig(alpha=0.5, epochs=3, dropout=0.0, attention_blocks=(6, 7))
    assert type(settings.dropout) is float
    assert config.from_dict(json.loads(json.dumps(config.to_dict(settings)))) == settings


def test_presets_come_back_from_json():
    for settings in PRESETS.values():
        assert config.from_dict(json.loads(json.dumps(config.to_dict(settings)))) == settings


def test_a_run_that_keeps_the_last_epoch_never_stops_early_and_says_so():
    given = {"early_stopping": 5}
    kept = config.replace(PRESETS["best"], **given)
    assert list(config.unread(kept, given)) == ["--early-stopping changes nothing here: it goes with --keep best"]
    assert not list(config.unread(config.replace(kept, keep="best"), given))


# Flags.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--alpha", "nan"], "alpha is nan"),
        (["--alpha", "inf"], "alpha is inf"),
        (["--heads", "99999999"], "heads is 99999999"),
        (["--warmup", "nan"], "warmup is nan"),
        (["--seed", "-1"], "seed is -1"),
        (["--rate", "1e9"], "learning_rate is 1000000000.0"),
        (["--epochs", "1" * 6000], "invalid int value"),
        (["--attention-blocks", "0-99999999"], "no list of blocks from 1 to 13"),
        (["--attention-blocks", "5-1"], "no list of blocks"),
        (["--attention-blocks", "6-"], "no list of blocks"),
        (["--attention-blocks", ""], "no list of blocks"),
        (["--attention-blocks", "1," * 9], "no list of blocks"),
    ],
)
def test_flags(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["train", *arguments])
    except SystemExit as stop:
        code = stop.code
    assert code == 2 and message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_blocks_of_a_flag_are_those_that_were_named():
    from minifer.commands.train import parse_blocks

    assert [parse_blocks(text) for text in ("6-8", "12,6-7,12", "all")] == [(6, 7, 8), (12, 6, 7), None]


# config.json.

GOOD = {"data": None, "config": config.to_dict(PRESETS["demo"])}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_config_json_in_any_unicode(tmp_path, encoding):
    (tmp_path / "config.json").write_bytes(json.dumps(GOOD).encode(encoding))
    assert config.read(tmp_path / "config.json") == (PRESETS["demo"], None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        ('{"data": "ä"}'.encode("latin-1"), "cannot be read"),
        (b"\xff\xfe\xff", "cannot be read"),
        (b"[" * 200_000 + b"]" * 200_000, "cannot be read (maximum recursion depth exceeded"),
        (b"[]", "instead of an object with config, data"),
        (b"null", "None instead of an object"),
        (b"{}", "'config' is missing"),
        (b'{"config": []}', "config is []"),
        (b'{"config": {}}', "'model' is missing"),
        (b'{"config": {"model": "mha", "alpha": NaN}}', "alpha is nan"),
        (b'{"config": {"model": "mha", "alpha": 1e999}}', "alpha is inf"),
        (b'{"config": {"model": "mha", "heads": null}}', "heads is None"),
        (b'{"config": {"model": ["mha"]}}', "model is ['mha']"),
        (b'{"config": {"model": "mha", "attention_blocks": {"6": 7}}}', "attention_blocks is {'6': 7}"),
        (b'{"config": {"model": "mha", "a\\nb": 1}}', "'a\\nb' is not a setting"),
        (b'{"data": 5, "config": {"model": "mha"}}', "data is 5: it must be nothing, or a text"),
        (b" " * (17 << 20), "more than 16777216 bytes"),
    ],
)
def test_config_json_that_is_wrong(tmp_path, content, message, capsys):
    (tmp_path / "config.json").write_bytes(content)
    assert main(["train", "--resume", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error and str(tmp_path / "config.json") in error and len(error.splitlines()) == 1


def test_config_json_that_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match=r"is missing: is .* the folder of a training run"):
        config.read(tmp_path / "config.json")
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ConfigError, match="not a file"):
        config.read(tmp_path / "config.json")


# Kinds.


def test_kinds_of_saved_states():
    kind = like({"rate": 0.1, "best": None, "waited": 0, "nested": {"on": True}})
    good = {"rate": 1, "best": 0.5, "waited": 3, "nested": {"on": False}, "more": 1}
    assert kind.take(good) == {"rate": 1.0, "best": 0.5, "waited": 3, "nested": {"on": False}}
    for wrong in ({"rate": "1"}, {"best": "x"}, {"waited": 1.5}, {"waited": -1}, {"nested": {}}, {"nested": None}):
        with pytest.raises((ValueError, TypeError)):
            kind.take(good | wrong)


def test_a_check_names_what_it_looks_at():
    kind = Record(names=Several(Text(1, 3), most=2), count=Maybe(Whole(0, 9)))
    assert checked("x", {"names": ["a", "b"]}, kind) == {"names": ("a", "b"), "count": None}
    with pytest.raises(ConfigError, match=r"x is \{'names': \[\]\}: it must be an object with names: a list of 1 to 2"):
        checked("x", {"names": []}, kind)
    with pytest.raises(ConfigError, match="y is 1: it must be true or false"):
        checked("y", 1, Switch())
