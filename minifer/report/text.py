"""The text form of an evaluation: what a teacher reads first stands first."""

from minifer.data.dataset import CLASSES


def format_report(result):
    """Return metrics.evaluate's result as text: top-1 with its interval, the classes, the confusions, the trap."""
    low, high = result["top1_interval"]
    blocks = [
        [
            *(["labels of FER+: not to be compared with figures of FER2013"] if "labels" in result else []),
            *(["products of bytes in place of float32"] if "products" in result else []),
            f"top-1 accuracy     {result['top1']:7.2%}   95 % interval {low:.2%} .. {high:.2%}   "
            f"({result['n']} pictures)",
            *unseen_lines(result),
            f"balanced accuracy  {result['balanced_accuracy']:7.2%}   mean recall of the classes",
            f"macro F1           {result['macro_f1']:7.2%}   macro precision {result['macro_precision']:.2%}",
            f"cross-entropy      {result['cross_entropy']:7.4f}",
            f"calibration error  {result['calibration_error']:7.2%}   how far confidence is from accuracy",
            *temperature_lines(result),
        ],
        class_table(result["per_class"]),
        confusion_table(result["confusion"], list(result["per_class"])),
        papers_reading(result),
    ]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"


def papers_reading(result):
    """Return the lines of what the paper calls accuracy, which it measured on FER2013's classes."""
    if not set(result["per_class"]) <= set(CLASSES):
        return []
    return [
        "the paper's reading of the same predictions (BinaryAccuracy over the one-hot outputs; not an accuracy of "
        "the classifier):",
        f"accuracy {result['binary_accuracy']:.4f}   precision {result['binary_precision']:.4f}   "
        f"recall {result['binary_recall']:.4f}",
    ]


def unseen_lines(result):
    """Return the line of the pictures of which the training rows hold no copy, if they were looked for."""
    if "unseen" not in result:
        return []
    low, high = result["unseen"]["top1_interval"]
    return [
        f"  without copies   {result['unseen']['top1']:7.2%}   95 % interval {low:.2%} .. {high:.2%}   "
        f"({result['unseen']['n']} pictures of which training has no copy)"
    ]


def temperature_lines(result):
    """Return the line about the temperature that the network has taken up, if it has one."""
    if "temperature" not in result:
        return []
    before = result["calibration_error_without_temperature"]
    return [f"  uncalibrated     {before:7.2%}   before its logits were divided by {result['temperature']:.3f}"]


def class_table(per_class):
    """Return the lines of the per-class table; a class without pictures has no figures."""
    rows = [["class", "pictures", "precision", "recall", "F1"]]
    for name, row in per_class.items():
        figures = [f"{row[key]:.1%}" if row["n"] else "-" for key in ("precision", "recall", "f1")]
        rows.append([name, str(row["n"]), *figures])
    return aligned(rows)


def confusion_table(confusion, classes):
    """Return the lines of the confusion matrix: a row per true class, a column per predicted class."""
    rows = [[name, *map(str, counts)] for name, counts in zip(classes, confusion, strict=True)]
    return aligned([["true \\ predicted", *classes], *rows])


def aligned(rows):
    """Return one line per row of strings: the first column flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:<{widths[0]}}", *cells]))
    return lines
