"""A sweep: one run for every combination of some settings and every seed, and what they say together.

    arm     one combination of the values of the settings that vary        runs of an arm    one for each seed
    mean    of an arm's runs            spread    their standard deviation, of n - 1; none of a single run

Differences between arms that are no larger than the spread are noise. A run leaves its result in a folder of its own:
the same call goes on where it was stopped, and further values or seeds may be added to a sweep. A run that fails is
named, and does not end the others.
"""

import hashlib
import itertools
import re
import statistics
from dataclasses import dataclass, fields
from pathlib import Path

from minifer import config
from minifer.allowed import shown
from minifer.errors import ConfigError, one_line
from minifer.files import claimed, make_folder, table_text, write_text
from minifer.jobs import run_jobs
from minifer.output import log
from minifer.runs import begun, check_same, train_once

SWITCHES = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
MEASURES = {"top-1 %": "top1", "mean recall %": "balanced_accuracy"}  # of an evaluation, as the table calls them
MOST_RUNS = 10_000
MOST_LETTERS = 50  # of an arm's name in the picture, which has to be beside it
MOST_BYTES = 160  # of a folder's name as it is: file systems take 255, and Windows 260 characters of a whole path
WITH_COMMAS = ("blocks", "classes", "merge", "teacher")  # settings whose values may have commas


@dataclass(frozen=True)
class Arm:
    """The settings that an arm changes, and what came of its runs.

    changes    {setting: value}        runs    {seed: dict of MEASURES, or a text that says why there is none}
    """

    changes: dict
    runs: dict

    @property
    def name(self):
        """The changes as text: alpha=0.5 learning_rate=0.001."""
        return " ".join(f"{name}={value}" for name, value in self.changes.items()) or "as it is"

    def figures(self, measure):
        """Return a measure of the runs that did not fail, in percent."""
        return [100 * run[MEASURES[measure]] for run in self.runs.values() if not isinstance(run, str)]


def parse_changes(texts):
    """Return {setting: [values]} of texts such as "alpha=.25,.5,1"; a setting may go by a former name.

    Raises     ConfigError for a setting that there is not, or that cannot have such a value
    """
    known = {field.name: field for field in fields(config.TrainConfig)}
    changes = {}
    for text in texts:
        given, equals, values = text.partition("=")
        name = given.strip().replace("-", "_")
        name = config.RENAMED.get(name, name)
        if not equals or name not in known or name in ("seed", "attention_blocks"):
            raise ConfigError(
                f"--set {text}: write SETTING=VALUE,VALUE,... with a setting that minifer train --help names, other "
                "than seed and attention_blocks"
            )
        if name in changes:
            raise ConfigError(f"--set {text}: {name} is set twice: give all its values in one --set")
        changes[name] = list(dict.fromkeys(value_of(known[name], value.strip()) for value in parted(name, values)))
    return changes


def parted(name, values):
    """Return the values in a text, parted by commas, or by semicolons where a value may have commas itself."""
    if ";" in values and name in WITH_COMMAS:
        return values.removesuffix(";").split(";")
    commas = values.split(",")
    names_of_tables = name == "blocks" and not any(map(str.isdigit, values))
    if name in WITH_COMMAS and len(commas) > 1 and not names_of_tables:
        raise ConfigError(
            f"--set {name}={values}: a value of {name} may have commas: part several by semicolons, and end a single "
            f"one by one, such as '{name}={values};'"
        )
    return commas


def value_of(field, text):
    """Return the value of a setting that a text means."""
    try:
        value = SWITCHES[text.lower()] if isinstance(field.default, bool) else type(field.default)(text)
        return field.metadata["allowed"].take(value)
    except (KeyError, TypeError, ValueError, OverflowError):
        allowed = "yes or no" if isinstance(field.default, bool) else field.metadata["allowed"]
        raise ConfigError(f"{field.name} is {shown(text)}: it must be {allowed}") from None


def sweep(settings, changes, seeds, out, data=None, jobs=1, scheduler=None):
    """Train every arm with every seed that has left no result in the folder `out` yet; return the Arms.

    settings    a TrainConfig that all start from; the seeds are its own and those after it
    changes     {setting: [values]}
    data        path of the data; None draws faces
    jobs, scheduler    as in jobs.run_jobs
    """
    arms = [Arm(dict(zip(changes, values, strict=True)), {}) for values in itertools.product(*changes.values())]
    if len(arms) * seeds > MOST_RUNS:
        raise ConfigError(f"{len(arms)} arms of {seeds} runs are more than {MOST_RUNS}: leave values out")
    unread = [set(config.unread(config.replace(settings, **arm.changes), changes)) for arm in arms]
    for line in sorted(set.intersection(*unread)):
        log(line)
    folder, data = make_folder(out), data and Path(data).resolve()
    with claimed(folder):
        tasks = [
            (folder.resolve() / folder_name(arm, seed), begun(config.replace(settings, **arm.changes, seed=seed)), data)
            for arm in arms
            for seed in range(settings.seed, settings.seed + seeds)
        ]
        for task in tasks:
            check_same(*task)
        for done, (number, result) in enumerate(run_jobs(train_arm, tasks, jobs, scheduler), start=1):
            arm, seed = arms[number // seeds], settings.seed + number % seeds
            arm.runs[seed] = result
            what = f"failed: {result}" if isinstance(result, str) else f"top-1 {100 * result['top1']:.2f} %"
            log(f"{done:3d}/{len(tasks)}  {arm.name} seed={seed}: {what}")
        write_text(folder / "table.csv", table_text(table(arms)))
        draw_arms(arms, folder / "arms.png")
    return arms


def folder_name(arm, seed):
    """Return the name of the folder of a run; a long one, as of a table of blocks, is cut, and ends in its hash."""
    text = f"{arm.name} seed={seed}" if arm.changes else f"seed={seed}"
    name = re.sub(r"[^\w.=+-]+", "_", text).encode()
    if len(name) > MOST_BYTES:
        name = name[:MOST_BYTES] + f"_{hashlib.sha256(text.encode()).hexdigest()[:12]}".encode()
    return name.decode(errors="ignore")


def train_arm(folder, settings, data):
    """Return the evaluation of a run, or a line that says why there is none."""
    try:
        evaluation, _ = train_once(folder, settings, data, data, quiet=True)
    except Exception as error:  # whatever it is, the other arms shall go on
        return f"{type(error).__name__}: {one_line(str(error))}" if not str(error) else one_line(str(error))
    return {key: evaluation[key] for key in MEASURES.values()}


def table(arms):
    """Return the rows of the table: a header, and one for each arm, the best one first."""
    changed = list(arms[0].changes)
    header = [*changed, "runs", "failed"]
    for measure in MEASURES:
        header += [measure, f"spread of {measure}"]
    rows = [header]
    for arm in sorted(arms, key=lambda arm: -statistics.fmean(arm.figures("top-1 %") or [-1])):
        failed = sum(isinstance(run, str) for run in arm.runs.values())
        row = [*map(str, arm.changes.values()), str(len(arm.runs) - failed), str(failed)]
        for measure in MEASURES:
            figures = arm.figures(measure)
            row.append(f"{statistics.fmean(figures):.2f}" if figures else "")
            row.append(f"{statistics.stdev(figures):.2f}" if len(figures) > 1 else "")
        rows.append(row)
    return rows


def draw_arms(arms, path):
    """Draw the top-1 accuracy of every run, and the mean and the spread of every arm, as a PNG file."""
    from minifer.report.canvas import BLUE, GREY, INK, new_figure, plain_frame, write_figure

    arms = [arm for arm in arms if arm.figures("top-1 %")]
    figure, ((axes,),) = new_figure(8, 1.2 + 0.35 * max(len(arms), 1))
    for y, arm in enumerate(sorted(arms, key=lambda arm: statistics.fmean(arm.figures("top-1 %")))):
        figures = arm.figures("top-1 %")
        axes.plot(figures, [y] * len(figures), "o", color=GREY, markersize=6)
        spread = statistics.stdev(figures) if len(figures) > 1 else 0
        axes.errorbar(statistics.fmean(figures), y, xerr=spread, fmt="D", color=BLUE, markersize=5, capsize=3)
        name = one_line(arm.name, MOST_LETTERS)
        axes.annotate(f" {name}", (0, y), xycoords=("axes fraction", "data"), ha="right", va="center", color=INK)
    axes.set_yticks([])
    axes.set_ylim(-0.6, max(len(arms), 1) - 0.4)
    axes.set_xlabel("validation top-1 %", color=INK)
    axes.set_title("each run, mean and spread", loc="left", color=INK, size=10)
    plain_frame(axes, grid="x")
    write_figure(figure, path)
