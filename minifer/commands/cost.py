"""Count what a network costs for one picture, layer by layer, and what ordinary convolutions in its place would."""

from minifer.commands.common import parse_shape, print_json

IMAGENET = (224, 224, 3)  # the shape of the pictures for which MobileNets are compared, in 1000 classes
SHORT = {  # kinds of layers, as the table calls them
    "Conv2D": "ordinary",
    "DepthwiseConv2D": "depthwise",
    "PointwiseConv2D": "pointwise",
    "GlobalAveragePool": "mean",
    "MultiHeadSelfAttention": "attention",
    "Residual": "addition",
}


def add_arguments(parser):
    """Add the flags."""
    parser.add_argument(
        "--model",
        default="plain",
        metavar="plain|skip|mha|FILE.py:FUNCTION",
        help="MobileNet, or a network of your own: a function of (input_shape, classes, rng) (default: plain)",
    )
    parser.add_argument("--alpha", type=float, default=1.0, help="width multiplier")
    parser.add_argument("--blocks", choices=("published", "even"), default="published", help="table of the blocks")
    parser.add_argument("--input", default="48x48x1", metavar="HxWxC", help="shape of a picture")
    parser.add_argument("--classes", type=int, help="default: 7, or ImageNet's 1000 for 224x224x3 pictures")
    parser.add_argument("--stem-stride", type=int, default=2, choices=(1, 2))
    parser.add_argument("--batch", type=int, default=1, help="pictures that share one reading of the weights")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args):
    """Count and print."""
    from minifer.allowed import Whole, checked
    from minifer.config import TrainConfig
    from minifer.cost import cost_rows, count, separable_blocks
    from minifer.models import TABLES, mobilenet
    from minifer.networks import build_own
    from minifer.own_code import is_target

    settings = TrainConfig(model=args.model, alpha=args.alpha)
    checked("--batch", args.batch, Whole(1, 10**6))
    shape = parse_shape(args.input)
    classes = args.classes
    if classes is None:
        classes = 1000 if shape == IMAGENET else 7
    checked("--classes", classes, Whole(1, 10**6))
    if is_target(settings.model):
        model, name = build_own(settings.model, shape, classes), settings.model
    else:
        model = mobilenet(
            settings.model,
            alpha=settings.alpha,
            input_shape=shape,
            classes=classes,
            stem_stride=args.stem_stride,
            blocks=TABLES[args.blocks],
            outline=True,
        )
        name = f"MobileNet {args.model}, alpha {args.alpha:g}, {args.blocks} blocks"
    model.require_input_gradient(False)  # as in training: nobody reads the gradient of the pictures
    table, _ = cost_rows(model, shape)
    total, blocks = count(model, shape), separable_blocks(table)
    attention = [row for row in table if row.kind == "MultiHeadSelfAttention"]
    if args.json:
        document = {"classes": classes, "batch": args.batch, **figures(total, args.batch)}
        document["layers"] = [
            {
                "path": row.path,
                "kind": row.kind,
                "input_shape": list(row.input_shape),
                "output_shape": list(row.output_shape),
                **figures(row.cost, args.batch),
            }
            for row in table
        ]
        document["separable_blocks"] = [block_figures(block) for block in blocks]
        document["attention_growth"] = growth(model, attention)
        print_json(document)
        return
    chosen = "" if args.classes else ", the default for such pictures"
    print(f"{name}, {args.input}, {classes} classes{chosen}; all for one picture\n")
    print_layers(table, total, args.batch)
    if blocks:
        print_blocks(blocks)
    print_growth(growth(model, attention), attention)
    print(
        f"total: {total.parameters:,} parameters, {total.trainable_parameters:,} of them trainable; "
        f"{total.multiply_adds:,} multiply-adds ({total.multiply_adds / 1e6:.1f} million)"
    )


def figures(cost, batch):
    """Return a Cost as the keys of the JSON document; intensities are in operations (two a multiply-add) per byte."""
    return {
        "parameters": cost.parameters,
        "trainable_parameters": cost.trainable_parameters,
        "multiply_adds": cost.multiply_adds,
        "backward_multiply_adds": cost.backward.multiply_adds,
        "activation_bytes": cost.activation_bytes,
        "forward_bytes": cost.forward.bytes_moved(batch),
        "backward_bytes": cost.backward.bytes_moved(batch),
        "forward_operations_per_byte": cost.forward.intensity(batch),
        "backward_operations_per_byte": cost.backward.intensity(batch),
    }


def block_figures(block):
    """Return a SeparableBlock as the keys of the JSON document."""
    names = ("path", "kernel", "channels", "filters", "positions", "multiply_adds", "standard_multiply_adds")
    names += ("parameters", "standard_parameters", "ratio", "predicted_ratio")
    return {name: getattr(block, name) for name in names}


def growth(model, attention):
    """Return how the cost of the model's first attention grows with the tokens, as a list of dicts."""
    from minifer.cost import attention_growth

    if not attention:
        return []
    layer = dict(model.walk())[attention[0].path]
    costs = attention_growth(layer.channels, layer.heads * layer.head_units, sides=(2, 3, 6, 12, 24, 48))
    return [{"tokens": t, "projections": linear, "tables": quadratic} for t, linear, quadratic in costs]


def print_layers(table, total, batch):
    """Print one line per layer."""
    from minifer.report.text import aligned

    rows = [["layer", "kind", "output", "parameters", "multiply-adds", "backward", "share", "kB", "fwd", "bwd"]]
    for row in table:
        share = 100 * row.cost.multiply_adds / total.multiply_adds
        output = "x".join(map(str, row.output_shape))
        rows.append([row.path, SHORT.get(row.kind, row.kind), output, *cells(row.cost, share, batch)])
    rows.append(["total", "", "", *cells(total, 100, batch)])
    print("\n".join(aligned(rows)))
    print(
        "\nmultiply-adds: of the forward pass, and backward (no gradient of the picture). kB: activations, the float32 "
        "output.\nfwd, bwd: arithmetic intensity, floating-point operations (two a multiply-add) per byte moved, in a "
        f"batch of {batch}.\n"
    )


def cells(cost, share, batch):
    """Return the figures of one line."""
    counted = [f"{n:,}" if n else "" for n in (cost.parameters, cost.multiply_adds, cost.backward.multiply_adds)]
    share = f"{share:.1f}%" if cost.multiply_adds else ""
    intensity = [f"{p.intensity(batch):.1f}" if p.multiply_adds else "" for p in (cost.forward, cost.backward)]
    kilobytes = cost.activation_bytes / 1000
    return [*counted, share, f"{kilobytes:,.{1 if kilobytes < 100 else 0}f}", *intensity]


def print_blocks(blocks):
    """Print the separable blocks beside ordinary convolutions of the same shape."""
    from minifer.report.text import aligned

    rows = [["separable block", "channels", "multiply-adds", "ordinary convolution", "ratio", "1/F + 1/K^2"]]
    for block in blocks:
        ratios = (f"{block.ratio:.4f}", f"{block.predicted_ratio:.4f}")
        channels = f"{block.channels} to {block.filters}"
        rows.append([block.path, channels, f"{block.multiply_adds:,}", f"{block.standard_multiply_adds:,}", *ratios])
    ours, theirs = (sum(getattr(b, n) for b in blocks) for n in ("multiply_adds", "standard_multiply_adds"))
    rows.append(["together", "", f"{ours:,}", f"{theirs:,}", f"{ours / theirs:.4f}", ""])
    print("\n".join(aligned(rows)) + "\n")


def print_growth(costs, attention):
    """Print how attention grows with the number of tokens, if there is any."""
    from minifer.report.text import aligned

    if not costs:
        return
    channels = attention[0].input_shape[-1]
    print(
        f"{attention[0].path} ({channels} channels) on maps of T tokens: its projections grow with T, its tables with"
    )
    print(f"T squared, and from T = 2 x {channels} = {2 * channels} on the tables cost more")
    rows = [["T", "4 T C I", "2 T^2 I", "together", "share of the tables"]]
    for cost in costs:
        together = cost["projections"] + cost["tables"]
        counted = [f"{n:,}" for n in (cost["projections"], cost["tables"], together)]
        rows.append([str(cost["tokens"]), *counted, f"{cost['tables'] / together:.1%}"])
    print("\n".join(aligned(rows)) + "\n")
