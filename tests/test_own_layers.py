"""`minifer gradcheck` on a student's own file: what it accepts, what it says, and one clear line for what is wrong."""

import json
import re
import sys
import textwrap

import pytest
from small_runs import run

from minifer.own_code import find

SCALE = """
import numpy as np

class Scale:
    def __init__(self, channels, start=1.0):
        self.weight = np.full(channels, start)

    def forward(self, x, training=False):
        self.x = x
        return x * self.weight

    def backward(self, dy):
        self.dweight = (dy * self.x).sum(axis=(0, 1))
        return dy * self.weight

class NotALayer:
    def forward(self, x):
        return x

def make():
    return Scale(3)

ready = Scale(3)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder, code, name="my_layer.py"):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(textwrap.dedent(code))


@pytest.mark.parametrize(
    "arguments",
    [
        ["my_layer.py:Scale", "--with", "channels=3"],
        ["my_layer:Scale", "--with", "3, start=2.5"],
        ["--input", "2x4x3", "my_layer.py:make"],
        ["my_layer.py:ready"],
        ["lessons/week1.py:Scale", "--with", "3"],
        ["lessons.week1:make"],
    ],
    ids=" ".join,
)
def test_a_right_layer_passes(capsys, folder, arguments):
    write(folder, SCALE)
    write(folder, SCALE, "lessons/week1.py")
    if "--input" not in arguments:
        arguments = [*arguments, "--input", "2x4x3"]
    code, out, err = run(capsys, "gradcheck", *arguments)
    assert code == 0 and out.startswith("ok"), out + err
    assert re.search(r"dx +2x4x3 +\S+ +ok", out) and re.search(r"weight +3 +\S+ +ok", out)
    assert "1 of 1 pass" in err


def test_own_layers_beside_cases(capsys, folder):
    write(folder, SCALE)
    code, out, err = run(capsys, "gradcheck", "softmax", "my_layer.py:make", "--input", "2x4x3")
    assert code == 0 and out.count("ok  ") >= 2 and "2 of 2 pass" in err


def test_a_forgotten_factor_is_named(capsys, folder):
    """Even though it is one at first, which hides that it is missing."""
    write(folder, SCALE.replace("return dy * self.weight", "return dy"))
    code, out, _ = run(capsys, "gradcheck", "my_layer.py:make", "--input", "2x4x3")
    assert code == 1 and out.startswith("FAIL")
    assert re.search(r"dx\[.*\]: backward .*, numeric ", out)
    assert "likely: the factor weight is missing" in out
    assert re.search(r"dx +2x4x3 +\S+ +WRONG", out) and re.search(r"weight +3 +\S+ +ok", out)


def test_several_inputs_and_labels(capsys, folder):
    write(
        folder,
        """
        import numpy as np

        class Loss:
            def forward(self, logits, labels):
                self.difference = logits - np.eye(3)[labels]
                return (self.difference ** 2).sum()

            def backward(self):
                return 2 * self.difference

        class Product:
            def forward(self, a, b, training=False):
                self.a, self.b = a, b
                return a * b

            def backward(self, dy):
                return dy * self.a, dy * self.b
        """,
    )
    code, out, _ = run(capsys, "gradcheck", "my_layer.py:Loss", "--input", "4x3", "--input", "4:3")
    assert code == 0 and "dlogits" in out
    code, out, _ = run(capsys, "gradcheck", "my_layer.py:Product", "--input", "4x3", "--input", "4x3")
    assert code == 1 and "this is what belongs to db: the two are swapped" in out


def test_what_is_missing_of_the_protocol_is_said(capsys, folder):
    write(
        folder,
        """
        import numpy as np
        from minifer.layers import Linear, Parameter, Sequential

        class Mixed:
            def __init__(self, rng):
                self.gain, self.forgotten, self.eps = Parameter(np.ones(3)), np.ones(3), 1e-5
                self.dense, self.more = Linear(3, 4, rng=rng), [Linear(3, 4, rng=rng)]
                self.rest, self.both = {"weight": np.ones(3)}, Sequential(Linear(4, 2, rng=rng))
                self.decay = np.ones(2)

            def forward(self, x):
                self.x = x
                z = self.dense.forward(x * self.gain.value * self.forgotten, training=True) / (1 + self.eps)
                return self.both.forward(z, training=True)

            def backward(self, dy):
                dz = self.dense.backward(self.both.backward(dy) / (1 + self.eps)) * self.forgotten
                self.gain.grad = (dz * self.x).sum(axis=0)
                return dz * self.gain.value
        """,
    )
    code, out, _ = run(capsys, "gradcheck", "my_layer.py:Mixed", "--input", "5x3")
    assert code == 1 and "FAIL  my_layer.py:Mixed                  forgotten changes y but has no gradient\n" in out
    for name in ("gain", "dense.weight", "dense.bias", "both.0.weight"):
        assert re.search(rf"{re.escape(name)} .* ok", out)
    assert re.search(r"forgotten +3 +MISSING", out) and "--constant forgotten" in out
    assert not re.search("more|rest|decay", out), "what forward does not read is of no concern"
    assert "note: taken as constants, which have no gradient: eps (--require NAME" in out
    assert "has to derive from minifer.layers.Layer" in out and "no keyword training=False" in out


@pytest.mark.parametrize(("flags", "out_and_err"), [([], (1, 1)), (["--json"], (0, 2))])
def test_what_a_layer_prints_is_shown_once_and_not_in_the_document(capsys, folder, flags, out_and_err):
    prints = "import sys; print('HEARD'); print('HEARD', file=sys.stderr); self.x = x"
    write(folder, SCALE.replace("self.x = x", prints).replace("sum(axis=(0, 1))", "mean(axis=(0, 1))"))
    _, out, err = run(capsys, "gradcheck", "my_layer.py:make", "--input", "2x4x3", *flags)
    assert (out.count("HEARD"), err.count("HEARD")) == out_and_err
    assert not flags or json.loads(out)


BODY = """
import numpy as np

class Broken:
    def forward(self, x, training=False):
        self.x = x
        {forward}

    def backward(self, dy):
        {backward}
"""

WRONG_LAYERS = [  # forward, backward, what is said
    ("return x @ np.ones((7, 2))", "",
     r"Broken\.forward, given shape \(2, 4, 3\), raised ValueError: .*line 7: return"),
    ("return x", "return dy.reshape(5)", r"Broken\.backward, given shape \(2, 4, 3\), raised ValueError: .*line 10"),
    ("raise NotImplementedError('y = 2 x')", "",
     r"Broken\.forward is still to be written \(my_layer.py, line 7\): y = 2 x"),
    ("x * 2", "return dy", "forward returned None: does it end with 'return y'"),
    ("return x", "dy", "backward returned None for dx: does it end with 'return dx'"),
    ("return x / 0", "return dy", "forward returned nan or inf"),
    ("return x.astype(np.float32)", "return dy", "forward turned float64 into float32"),
    ("return x", "return dy.astype(np.float32)", "the gradient dx is float32"),
    ("return x", "return dy[0]", r"the gradient dx has shape \(4, 3\), not \(2, 4, 3\)"),
    ("return x.sum(axis=0)", "return dy", r"the gradient dx has shape \(4, 3\), not \(2, 4, 3\)"),
    ("return x", "return dy, dy", "backward returned 2 gradients for 1 floating-point inputs"),
    ("x *= 2; return x * 1", "return dy", "forward changed its input x"),
    ("return x * 1", "dy *= 2; return dy", "backward changed its dy"),
    ("return x + np.random.random(x.shape)", "return dy", "another result for the same input: .*self.rng"),
    ("self.f = open(__file__); return x", "return dy", "cannot be copied"),
    ("return x**2", "self.x *= 2 * dy; return self.x", r"Broken\.backward changed forward's input x"),
    ("raise SystemExit", "return dy", r"Broken\.forward, given shape .* raised SystemExit.*line 7"),
    ("return x", "raise SystemExit(0)", r"Broken\.backward, given shape .* raised SystemExit: 0.*line 10"),
    ("raise BaseException('boo')", "return dy", "raised BaseException: boo.*line 7"),
    ("return 'text'", "return dy", "forward returned a str without an array of numbers"),
    ("yield x", "return dy", "forward returned a generator: write return in place of yield"),
    ("return np.array([x, None], object)", "return dy", "forward returned an array of other things than numbers"),
    ("return ()", "return dy", "forward returned a tuple without an array of numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("forward", "backward", "message"), WRONG_LAYERS, ids=[row[2][:30] for row in WRONG_LAYERS])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_layer_that_cannot_be_checked_is_one_line(capsys, folder, forward, backward, message):
    write(folder, BODY.format(forward=forward, backward=backward or "return dy"))
    code, out, _ = run(capsys, "gradcheck", "my_layer.py:Broken", "--input", "2x4x3")
    assert code == 1 and re.search(message, out), out
    assert len([line for line in out.splitlines() if line.startswith("FAIL")]) == 1 == len(out.splitlines())


def test_backward_may_change_what_forward_has_copied(capsys, folder):
    forward, backward = "self.x = x.copy(); return x**2", "self.x *= 2 * dy; return self.x"
    write(folder, BODY.format(forward=forward, backward=backward))
    assert run(capsys, "gradcheck", "my_layer.py:Broken", "--input", "2x4x3")[0] == 0


WRONG_FILES = [  # code, target, what is said
    ("", "other.py:Scale", "there is no file other.py"),
    ("", "other:Scale", r"there is no module 'other': go to the folder of other.py"),
    ("", "my.other:Scale", "there is no module 'my'"),
    (SCALE, "my_layer.py:Skale", "my_layer.py has nothing called 'Skale': it defines Scale; write my_layer.py:NAME"),
    (SCALE, "my_layer.py", "my_layer.py needs the name of a class: it defines Scale"),
    ("x = 1", "my_layer.py:Scale", "it defines no class with forward and backward"),
    (SCALE, "my_layer.py:NotALayer", r"is not a layer: NotALayer has no method backward\(dy\)"),
    ("x = 1", "my_layer.py:x", r"is not a layer: int has no method forward\(x\)"),
    (SCALE, "my_layer.py:Scale",
     r"Scale\(channels, start=1.0\): missing a required argument: 'channels'; give arguments such as --with"),
    ("class A:\n    def __init__(self):\n        1 / 0", "my_layer.py:A",
     r"cannot be made: ZeroDivisionError: .*line 3: 1 / 0"),
    ("import no_such_thing", "my_layer.py:A",
     r"No module named 'no_such_thing' \(my_layer.py, line 1: import no_such_thing\)"),
    ("import no_such_thing", "my_layer:A",
     r"No module named 'no_such_thing' \(my_layer.py, line 1: import no_such_thing\)"),
    ("1 / 0", "my_layer.py:A", r"cannot be imported: ZeroDivisionError: .*line 1: 1 / 0"),
    ("import sys\nsys.exit(3)", "my_layer.py:A", "cannot be imported: SystemExit"),
    ("class A:\n    def __init__(self):\n        raise SystemExit", "my_layer.py:A",
     r"cannot be made: SystemExit.*line 3: raise"),
    (f"{SCALE}\nimport functools\npart = functools.partial(Scale)", "my_layer.py:part",
     r"part\(channels, start=1.0\): missing a required argument: 'channels'"),
    ("class A:\n    def __call__(self, channels):\n        return self\nready = A()", "my_layer.py:ready",
     r"ready\(channels\): missing a required argument: 'channels'"),
    (SCALE, ":Scale", "'' is neither a file nor a module: write path/to/file.py:NAME"),
    (SCALE, "my_layer.py:make:3", "'my_layer.py:make' is neither a file nor a module"),
    ("", "builtins:int", r"is not a layer: int has no method forward\(x\)"),
    ("", "minifer.layers:Dense", "has nothing called 'Dense': it has .*Linear.*; write minifer.layers:NAME"),
    ("from minifer.layers import Linear\nx = Linear", "my_layer.py:Dense", "it defines no class with forward"),
    ("class A\n    pass", "my_layer.py:A", r"is not Python: .* \(line 1: class A\)"),
    ("class A:\n    def forward(x):\n        return x\n    def backward(self, dy):\n        return dy",
     "my_layer.py:A", r"A\.forward\(\) was given shape \(2, 4, 3\)"),
    ("class A:\n    def forward(self, x):\n        return x * 1\n    def backward(self):\n        return 1",
     "my_layer.py:A", r"A\.backward\(\) takes no dy, yet y has shape"),
    ("class A:\n    def forward(self, x, y):\n        return x * 1\n    def backward(self, dy):\n        return dy",
     "my_layer.py:A", r"A\.forward\(x, y\) was given shape \(2, 4, 3\): missing a required argument: 'y'"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target", "message"), WRONG_FILES, ids=[row[2][:30] for row in WRONG_FILES])
def test_a_layer_that_cannot_be_found_is_one_line(capsys, folder, source, target, message):
    write(folder, source)
    code, out, _ = run(capsys, "gradcheck", target, "--input", "2x4x3")
    assert code == 1 and re.search(message, out), out
    assert len(out.splitlines()) == 1


def test_a_class_from_another_file_of_ones_own_is_offered(capsys, folder):
    write(folder, "from scale import Scale")
    write(folder, SCALE, "scale.py")
    _, out, _ = run(capsys, "gradcheck", "my_layer.py:Skale", "--input", "2x4x3")
    assert "it has Scale; write" in out


def test_each_file_imports_from_its_own_folder(capsys, folder):
    """Not from that of the file before, nor from the current one."""
    for name, factor in {"alice/utils.py": 2, "bob/utils.py": 3, "utils.py": 5, "alice/random.py": 7}.items():
        write(folder, f"FACTOR = {factor}", name)
    code = "from utils import FACTOR\nimport random\nclass Own:\n    constants = random.__file__"
    for name in ("alice", "bob"):
        write(folder, f"{code}\n    def forward(self, x): return FACTOR * x", f"{name}/layer.py")
    found = [find(f"{name}/layer.py:Own", callable, "", "") for name in ("alice", "bob", "alice")]
    assert [own().forward(1) for own in found] == [2, 3, 2]
    assert not any("alice" in own.constants for own in found), "Python's own random stays"
    assert "utils" not in sys.modules, "whoever imports utils elsewhere gets his own"


def test_too_large_a_shape_is_refused_before_anything_runs(capsys, folder):
    write(folder, SCALE.replace("self.x = x", "raise ValueError"))
    code, out, _ = run(capsys, "gradcheck", "my_layer.py:make", "--input", "100x100x3")
    assert code == 1 and "30,000 entries to probe: check it on a tiny shape" in out
    code, out, _ = run(capsys, "gradcheck", "my_layer.py:Scale", "--with", "1000001", "--input", "2x4x3")
    assert code == 1 and "Scale holds 1,000,001 numbers" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["my_layer.py:make"], "give the shape of the input of my_layer.py:make: --input 2x5x4x3"),
        (["my_layer.py:make", "--input", "2,5"], "'2,5' is not a shape"),
        (["my_layer.py:make", "--input", "2x0"], "'2x0' is not a shape"),
        (["my_layer.py:make", "--input", "4:0"], "'4:0' is not a shape"),
        (["my_layer.py:make", "--input", "99999999999999999999999x3"], "is not a shape"),
        (["my_layer.py:make", "--input", "4:99999999999999999999999"], "is not a shape"),
        (["my_layer.py:make", "--input", "x".join("1" * 72)], "is not a shape"),
        (["my_layer.py:make", "--input", "5000x5000"], "25,000,000 numbers: check it on a tiny shape"),
        (["my_layer.py:make", "--input", "2x3", "--with", "3)("], "cannot be read"),
        (["my_layer.py:make", "--input", "2x3", "--with", "k={[1]}"], "cannot be read"),
        (["my_layer.py:make", "--input", "2x3", "--with", "k=1, k=2"], "gives an argument twice"),
        (["my_layer.py:make", "--input", "2x3", "--with", "f(3)"], "cannot be read"),
        (
            ["my_layer.py:ready", "--input", "2x3", "--with", "3"],
            "is a layer already, not a class: leave out --with '3'",
        ),
        (["softmax", "--input", "2x3"], "--constant and --require are for layers of your own"),
        (["softmaxx", "my_layer.py:make", "--input", "2x3"], "no case is called 'softmaxx'"),
    ],
)
def test_wrong_usage_is_exit_code_2(capsys, folder, arguments, message):
    write(folder, SCALE)
    code, out, err = run(capsys, "gradcheck", *arguments)
    assert code == 2 and message in err and out == ""


def test_json_says_the_same(folder, capsys):
    (folder / "mine.py").write_text(SCALE.replace("sum(axis=(0, 1))", "mean(axis=(0, 1))"))
    code, out, _ = run(capsys, "gradcheck", "mine.py:Scale", "--with", "3", "--input", "2x5x3", "--json")
    (scale,) = json.loads(out)
    assert code == 1 and (scale["name"], scale["layer"], scale["passed"]) == ("mine.py:Scale", "Scale", False)
    dx, weight = scale["arrays"]
    assert (dx["array"], dx["verdict"], dx["guess"], dx["shape"]) == ("dx", "ok", None, [2, 5, 3])
    assert weight["verdict"] == "WRONG" and "10 times too small" in weight["guess"]["text"]
    worst = weight["worst"]
    assert worst["numeric"] == pytest.approx(10 * worst["backward"]) and len(worst["index"]) == 1
    assert scale["error"] == weight["error"] > 0.8
    _, out, _ = run(capsys, "gradcheck", "mine.py:NotALayer", "--input", "2x5x3", "--json")
    assert [(one["passed"], "backward" in one["failure"]) for one in json.loads(out)] == [(False, True)]
