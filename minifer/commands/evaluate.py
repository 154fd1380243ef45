"""Measure a trained network on one split: top-1 with its interval first, then what puts it into proportion."""

from contextlib import ExitStack
from pathlib import Path

from minifer import config
from minifer.commands.common import add_model, add_threads, as_path, print_json, set_threads
from minifer.errors import ConfigError


def add_arguments(parser):
    """Add the flags."""
    parser.add_argument(
        "weights", type=as_path, metavar="WEIGHTS_OR_RUN", help="weights file, run folder, or name of shipped weights"
    )
    parser.add_argument("--data", type=as_path, required=True, metavar="PATH", help="the data, as for train")
    parser.add_argument("--split", required=True, choices=("train", "val", "test"), help="test is PrivateTest")
    parser.add_argument(
        "--tta", action="store_true", help="average over two views of each picture: as it is and mirrored"
    )
    parser.add_argument(
        "--unseen", action="store_true", help="also give top-1 on the pictures of which the training rows hold no copy"
    )
    parser.add_argument(
        "--products", choices=("float32", "int8"), default="float32",
        help="int8: pointwise convolutions multiply bytes, where the processor can; twice as fast, a little less exact",
    )  # fmt: skip
    parser.add_argument(
        "--labels",
        type=as_path,
        metavar="FILE",
        help="FER+'s votes, where the table that a run trained on has moved",
    )
    add_model(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--out", type=as_path, metavar="DIR", help="also write evaluation.json, predictions.csv and confusion.png here"
    )
    add_threads(parser)


def run(args):
    """Evaluate, write and print."""
    from minifer.files import claimed, make_folder
    from minifer.run_folder import check_no_run, remove_if_empty

    set_threads(args)
    if args.unseen and args.split == "train":
        raise ConfigError(
            "--unseen: every training row has a copy in the training rows, itself: choose another --split"
        )
    with ExitStack() as claims:
        if args.out:  # what cannot be written is said before the pictures are read
            check_no_run(args.out, "--out")
            if not Path(args.out).exists():
                claims.callback(remove_if_empty, Path(args.out))
            claims.enter_context(claimed(make_folder(args.out)))
        measure(args)


def with_labels(settings, args):
    """Return a TrainConfig with the labels of --labels, if they are given."""
    if args.labels and not settings.labels:
        raise ConfigError(f"--labels: {args.weights} was not trained on FER+'s votes: leave it out")
    return config.replace(settings, labels=args.labels) if args.labels else settings


def measure(args):
    """As run, where --out is a folder that nobody else writes to."""
    from minifer.evaluation import evaluate_weights, on_unseen
    from minifer.reading import Reading, load
    from minifer.run_folder import write_evaluation
    from minifer.trained import described, find_weights

    weights = find_weights(args.weights)
    needed = [args.split, *["train"] * args.unseen]
    settings, _, image_shape = described(weights)
    splits = load(args.data, Reading.of(with_labels(settings, args), image_shape), needed)
    dataset = splits[args.split]
    result, probs = evaluate_weights(weights, dataset, args.split, args.tta, args.model, args.products)
    if args.unseen:
        result["unseen"] = on_unseen(splits["train"], dataset, probs)
    if args.out:
        write_evaluation(args.out, result, probs, dataset)
    if args.json:
        print_json(result)
    else:
        from minifer.report.text import format_report

        print(format_report(result))
