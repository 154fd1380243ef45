"""How a network is built and trained: one frozen dataclass, its presets, and its JSON in every run folder.

Each setting says what kind of value it takes and in which range. Python callers, flags and files share that one check.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from minifer.allowed import Choice, ChoiceOrOwn, Maybe, Number, Record, Several, Switch, Text, Whole, checked
from minifer.errors import ConfigError
from minifer.files.documents import read_json

MODELS = ("plain", "skip", "mha", "v2", "v3", "v3-small")
LATE_BLOCKS = tuple(range(6, 14))  # 3x3 and 2x2 maps on 48x48 pictures; attention on larger maps outweighs the network

PADDINGS = ("same", "symmetric")
MOST_BLOCKS = 13  # of the longest table
KINDS = {bool: Switch(), str: Text(), tuple: Maybe(Several(Whole(1, MOST_BLOCKS), most=MOST_BLOCKS))}


def setting(default, meaning, choices=None, within=None):
    """Return a dataclass field: what it means, and the choices or, for numbers, the least and the most."""
    if within:
        allowed = (Whole if isinstance(default, int) else Number)(*within)
    else:
        allowed = Choice(*choices) if choices else KINDS[type(default)]
    return field(default=default, metadata={"help": meaning, "choices": choices, "allowed": allowed})


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training run computes, apart from the data."""

    model: str = field(
        default="mha",
        metadata={
            "help": "plain, skip or mha: MobileNet, with skip connections, or with these and multi-head attention; v2, "
            "v3 (large), v3-small; or file.py:function of your own, which takes (input_shape, classes, rng)",
            "choices": None,
            "allowed": ChoiceOrOwn(*MODELS),
        },
    )
    alpha: float = setting(1.0, "width: every channel count is multiplied by it", within=(0.01, 8))
    stem_stride: int = setting(2, "stride of the first convolution; 1 keeps twice the resolution", (1, 2))
    blocks: str = setting(
        "published",
        "table of the blocks: published; even, which spends as much on large maps as on small ones; or rows of your "
        "own, channels/stride*count, such as 32,64/2,128/2*3",
    )
    linear: bool = setting(False, "end blocks without ReLU6, so that with skips they can also take away")
    attention_blocks: tuple | None = setting(
        LATE_BLOCKS, "blocks that attention follows: all, or such as 6-13 or 12,13"
    )
    heads: int = setting(8, "attention heads", within=(1, 64))
    head_units: int = setting(64, "units of query, key and value in each head", within=(1, 512))
    attention_positions: bool = setting(False, "add a learned position to the tokens of attention")
    padding: str = setting(
        "same", "zeros round the maps: same, as in TensorFlow, or symmetric, as PyTorch's weights need", PADDINGS
    )
    bn_eps: float = setting(1e-3, "added to the variance in BatchNorm; PyTorch's weights need 1e-5", within=(1e-9, 1))
    dropout: float = setting(0.0, "share of features dropped before the classifier", within=(0, 0.99))

    pretrained: str = setting(
        "",
        "weights file, run folder, Keras' .h5 or .keras, or timm's or torchvision's .safetensors to start from: all of "
        "the same network, stem and blocks of another",
    )
    freeze: bool = setting(False, "train only skip projections, attention and classifier: transfer learning")

    epochs: int = setting(100, "passes over the training rows, at most", within=(1, 100_000))
    batch_size: int = setting(32, "pictures in a batch", within=(1, 4096))
    batch_blocks: int = setting(
        1,
        "parts of a batch with BatchNorm statistics of their own, which ranks of mpiexec share; it decides the result, "
        "the number of ranks does not",
        (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
    )
    products: str = setting(
        "float32",
        "numbers that the larger layers multiply in a training step: float32, or these rounded to bfloat16 where the "
        "processor has AVX-512 BF16",
        ("float32", "bfloat16"),
    )
    optimizer: str = setting("adam", "adam, or sgd with Nesterov momentum", ("adam", "sgd"))
    learning_rate: float = setting(1e-3, "learning rate at the start, or at the top of the cosine", within=(1e-30, 100))
    weight_decay: float = setting(0.0, "decoupled weight decay of Adam, L2 of SGD", within=(0, 100))
    schedule: str = setting("plateau", "how the rate falls", ("plateau", "cosine", "constant"))
    warmup: float = setting(
        0.0, "epochs in which the cosine schedule's rate first rises, at most half of all", within=(0, 100_000)
    )
    plateau_factor: float = setting(
        0.5, "what the rate is multiplied by when val top-1 stagnates", within=(0.001, 0.999)
    )
    plateau_patience: int = setting(5, "epochs without improvement until then", within=(1, 100_000))
    min_learning_rate: float = setting(0.0, "the rate never falls below it", within=(0, 100))
    early_stopping: int = setting(
        0, "epochs without improvement after which training stops; 0 never", within=(0, 100_000)
    )
    average: float = setting(
        0.0, "decay of an exponential moving average of the weights; 0 uses the weights", within=(0, 0.999999)
    )

    keep: str = setting("best", "epoch whose weights are used: of the best val top-1, or the last", ("best", "last"))

    calibrate: bool = setting(False, "divide the logits by the temperature that suits val best: honest probabilities")
    recalibrate: int = setting(
        0,
        "pictures on which BatchNorm's statistics are measured anew after an epoch, as they are; 0 keeps them",
        within=(0, 10_000_000),
    )
    label_smoothing: float = setting(0.0, "share of each label spread over all classes", within=(0, 0.99))
    teacher: str = setting(
        "", "predictions.csv of another network on the training rows to learn from beside the labels, or several: A,B"
    )
    teacher_share: float = setting(0.5, "share of the teacher's probabilities in the labels", within=(0, 1))
    balance: str = setting(
        "none", "answer to unequal classes, on training rows only", ("none", "weights", "nearmiss-smote")
    )
    register: bool = setting(
        False, "sample every picture along its face's landmarks: at one place, of one size, upright"
    )
    end_phase: float = setting(
        0.0,
        "share of the epochs, at the end, on sharp whole pictures and plain labels, without dropout and teacher",
        within=(0, 1),
    )
    flip: bool = setting(True, "mirror half of the training pictures")
    shift: float = setting(0.1, "largest shift, as a share of the side", within=(0, 0.5))
    rotation: float = setting(10.0, "largest rotation in degrees", within=(0, 180))
    zoom: float = setting(0.1, "largest zoom in or out", within=(0, 0.9))
    brightness: float = setting(0.1, "largest change of brightness", within=(0, 1))
    contrast: float = setting(0.1, "largest change of contrast", within=(0, 1))
    erasing: float = setting(0.0, "probability that a random rectangle is erased", within=(0, 1))
    mixup: float = setting(
        0.0, "mix each picture and label with another one's, by shares of Beta(mixup, mixup); 0: none", within=(0, 100)
    )

    labels: str = setting("", "fer2013new.csv of FER+: the votes of ten people in place of fer2013.csv's labels")
    votes: str = setting(
        "cross-entropy",
        "FER+: train on the shares of the votes, or on what the majority says",
        ("cross-entropy", "majority"),
    )
    colour: bool = setting(False, "read pictures of your own in colour; they are grey otherwise")
    size: int = setting(
        0, "side of the squares that pictures of your own are fitted into; 0 takes them as they are", within=(0, 1024)
    )
    classes: str = setting("", "keep only these classes, in this order: happy,sad")
    merge: str = setting("", "classes that become one: angry+disgust, or several such, parted by commas")
    val_share: float = setting(
        0.0, "share of the training rows to validate on, where the data has none for it; 0 is a fifth", within=(0, 0.9)
    )

    seed: int = setting(
        0, "of starting weights, order, augmentation, dropout and the rows that val_share takes", within=(0, 2**63 - 1)
    )
    limit: int = setting(0, "use only this many training rows; 0 uses all", within=(0, 10_000_000))

    def __post_init__(self):
        for rule in dataclasses.fields(self):
            value = checked(rule.name, getattr(self, rule.name), rule.metadata["allowed"])
            object.__setattr__(self, rule.name, value)


# The numbers of the paper's table 2; it names no augmentation.
NO_AUGMENTATION = {"flip": False, "shift": 0.0, "rotation": 0.0, "zoom": 0.0, "brightness": 0.0, "contrast": 0.0}

# What trained the networks that ship: `small` spends its work on maps of full resolution, `best` about as much work on
# four times the weights. Without mixup pictures without a copy in training were read best after three quarters of the
# epochs, and worse from then on. Adam, an end phase (end_phase=0.1) and stronger warps gave less: the card beside the
# weights tells how much.
SMALL = TrainConfig(
    model="skip", stem_stride=1, blocks="even", alpha=2.0, linear=True, register=True, dropout=0.2, epochs=120,
    batch_size=64, optimizer="sgd", learning_rate=0.05, weight_decay=5e-4, schedule="cosine", warmup=3.0,
    average=0.9995, keep="last", calibrate=True, recalibrate=2048, label_smoothing=0.1,
    shift=0.09, rotation=10.0, zoom=0.12, brightness=0.2, contrast=0.2, erasing=0.35, mixup=0.2,
)  # fmt: skip

PRESETS = {
    "demo": TrainConfig(
        alpha=0.25, heads=4, head_units=16, attention_blocks=(11, 13), epochs=8, learning_rate=3e-3, schedule="cosine",
        warmup=0.5, average=0.99, shift=0.05, rotation=5.0, zoom=0.05,
    ),
    "quick": TrainConfig(
        model="skip", alpha=0.5, epochs=14, batch_size=32, learning_rate=3e-3, schedule="cosine", warmup=1.0,
        weight_decay=0.01, label_smoothing=0.1, average=0.998,
    ),
    "paper": TrainConfig(
        attention_blocks=None, plateau_patience=5, min_learning_rate=0.00025, early_stopping=20, **NO_AUGMENTATION
    ),
    "best": dataclasses.replace(SMALL, alpha=4.0, stem_stride=2),
    "small": SMALL,
}  # fmt: skip


def replace(config, **changes):
    """Return config with some settings changed."""
    return dataclasses.replace(config, **changes)


# What reads a setting, where not every run does: (settings, whether a TrainConfig has what reads them, what that is).
READERS = (
    (("blocks", "linear"), lambda c: c.model in ("plain", "skip", "mha"), "--model plain, skip and mha"),
    (("heads", "head_units", "attention_blocks", "attention_positions"), lambda c: c.model == "mha", "--model mha"),
    (("alpha", "stem_stride", "padding", "bn_eps", "dropout"), lambda c: c.model in MODELS, "minifer's own networks"),
    (("teacher_share",), lambda c: c.teacher, "--teacher"),
    (("votes",), lambda c: c.labels, "--labels"),
    (("warmup",), lambda c: c.schedule == "cosine", "--schedule cosine"),
    (("plateau_factor", "plateau_patience"), lambda c: c.schedule == "plateau", "--schedule plateau"),
    (("min_learning_rate",), lambda c: c.schedule != "constant", "--schedule plateau and cosine"),
    (("early_stopping",), lambda c: c.keep == "best", "--keep best"),
)


def unread(config, given):
    """Yield a line for each of the settings that were given and that nothing of a run reads."""
    for names, has_reader, reader in READERS:
        for name in names if not has_reader(config) else ():
            if name in given:
                yield f"--{name.replace('_', '-')} changes nothing here: it goes with {reader}"


def check_together(config):
    """Raise ConfigError when settings contradict each other."""
    if config.freeze and not config.pretrained and config.model in MODELS:  # one's own may bring its weights itself
        raise ConfigError("--freeze keeps what --pretrained brings: without that the start's random weights would stay")
    if config.teacher and config.balance == "nearmiss-smote":
        raise ConfigError("no teacher has seen the rows that SMOTE makes: choose another --balance, or no --teacher")


def to_dict(config):
    """Return the settings as a JSON-able dict."""
    return dataclasses.asdict(config)


RENAMED = {"rate": "learning_rate", "min_rate": "min_learning_rate"}  # settings of earlier versions
# Settings of earlier versions that did not help, and the values at which weights of that time read pictures as now:
# with a crop the first epochs trained on the middle of each picture.
REMOVED = {"sharpness": (0.0,), "crop": (0, 40)}


def from_dict(settings, source="the settings"):
    """Return the TrainConfig of a dict; unknown names raise ConfigError.

    A setting that an older version did not have yet takes its default, which is how that version behaved.
    """
    if not isinstance(settings, dict) or "model" not in settings:
        raise ConfigError(f"{source}: 'model' is missing: these are not the settings of a run")
    settings = {RENAMED.get(name, name): value for name, value in settings.items()}
    settings = {name: value for name, value in settings.items() if value not in REMOVED.get(name, ())}
    unknown = sorted(settings.keys() - {f.name for f in dataclasses.fields(TrainConfig)})
    if unknown:
        raise ConfigError(f"{source}: {unknown[0]!r} is not a setting of this version")
    try:
        return TrainConfig(**settings)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def read(path):
    """Return (TrainConfig, path of the data or None) of a run's config.json.

    Raises     ConfigError when there is none, or it is damaged, or a setting is not allowed
    """
    wanted, folder = {"config": Record(), "data": Maybe(Text())}, Path(path).parent
    saved = read_json(path, wanted, missing=f": is {folder} the folder of a training run?")
    return from_dict(saved["config"], str(path)), saved.get("data")
