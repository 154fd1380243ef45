"""The numbers that the study printed, and honest ones from elsewhere to put them beside."""

from minifer.data.balance import PAPER_TARGETS

# Table 1: training rows of each class before and after balancing. Neutral is printed as 1965, a slip: the rows of
# FER2013 are 4965, and only with them do the classes add up to 28,709.
BEFORE = {
    "angry": 3995, "disgust": 436, "fear": 4097, "happy": 7215, "sad": 4830, "surprise": 3171, "neutral": 4965,
}  # fmt: skip
AFTER = PAPER_TARGETS

# Table 2: how the networks were trained.
SETTINGS = {
    "loss": "categorical cross-entropy",
    "optimizer": "Adam, 0.001",
    "batch": "32 pictures, shuffled",
    "rate": "halved when learning stagnates, down to 0.00025",
    "epochs": "at most 100, early stopping",
    "pre-training": "extraction frozen; skips, attention and classifier trained",
}

# Table 3: accuracy, recall and precision as printed.
TABLE_3 = {
    "plain": {"accuracy": 0.9127, "recall": 0.7821, "precision": 0.8214},
    "skip": {"accuracy": 0.9564, "recall": 0.8169, "precision": 0.8703},
    "mha": {"accuracy": 0.9602, "recall": 0.8214, "precision": 0.8961},
}

NAMES = {"plain": "MobileNet", "skip": "MobileNet + skips", "mha": "MobileNet + skips + attention"}

# Table 4: (network, million parameters, top-1 in %, how it was measured). Single networks whose way of measuring is
# known; "PrivateTest" unless something else is said.
LITERATURE = [
    ("people, on 1,500 of the pictures", None, 65.0, "Goodfellow et al., 2013: 65 +- 5"),
    ("winner of the 2013 challenge, a CNN with an SVM loss", None, 71.2, "Tang, 2013"),
    ("separable CNN, no extra data", 0.17, 68.6, "mean of 5 runs, spread 0.65; vicksam/fer-model"),
    ("mini-Xception", 0.06, 66.0, "on PublicTest and PrivateTest together; oarriaga/face_classification"),
    ("CNN of 4 layers", 2.0, 63.2, "on both together; atulapra/Emotion-detection"),
    ("MobileNet with centre loss", None, 68.3, "Miao et al., 2019"),
    ("CNN of 5 layers, 300 epochs", None, 66.3, "Stanford cs230 report"),
    ("ResNet34, from ImageNet", 21.0, 72.4, "mean of 10 augmented pictures; Pham et al., 2021"),
    ("ResNet50, from faces", 25.0, 73.2, "Stanford cs230 report"),
    ("ResMaskingNet, from ImageNet", 142.9, 74.1, "mean of 10 augmented pictures; Pham et al., 2021"),
]


def binary_accuracy(recall, precision, classes=7):
    """Return the BinaryAccuracy that a printed recall and precision imply.

    Per picture one of the `classes` outputs should say yes. FN = 1 - recall of them don't;
    FP = recall / precision - recall say so wrongly.      accuracy = 1 - (FP + FN) / classes
    """
    return 1 - (recall / precision - recall + 1 - recall) / classes


def top1_range(recall, precision):
    """Return (low, high) of the top-1 accuracy that a printed recall and precision allow.

    A true output above 1/2 is the largest of a softmax: top-1 is at least the recall. A wrong output above 1/2 makes
    the picture wrong: top-1 is at most 1 - FP.
    """
    return recall, 1 - (recall / precision - recall)
