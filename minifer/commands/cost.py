"""Count what a network costs, layer by layer: its work on a picture, or with --memory what a training step stores."""

from minifer.commands import memory, scaling
from minifer.commands.common import as_path, parse_shape, print_json, write_table
from minifer.errors import ConfigError

IMAGENET = (224, 224, 3)  # the shape of the pictures for which MobileNets are compared, in 1000 classes
OF_BLOCKS = {"plain", "v1", "skip", "mha"}  # networks whose table of blocks may be another one
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
        metavar="plain|skip|mha|v2|v3|v3-small|FILE.py:FUNCTION",
        help="MobileNet (mha: attention after every block), or a network of your own: a function of "
        "(input_shape, classes, rng) (default: plain)",
    )
    parser.add_argument(
        "--compare", metavar="MODEL,MODEL,...", help="a line for each of several networks, such as v1,v2,v3-small"
    )
    parser.add_argument("--alpha", type=float, help="width multiplier of MobileNets (default: 1)")
    parser.add_argument(
        "--blocks", help="table of the blocks: published (default), even, or rows such as 32,64/2,128/2*3"
    )
    parser.add_argument("--input", default="48x48x1", metavar="HxWxC", help="shape of a picture")
    parser.add_argument("--classes", type=int, help="default: 7, or ImageNet's 1000 for 224x224x3 pictures")
    parser.add_argument("--stem-stride", type=int, choices=(1, 2), help="of MobileNets (default: 2)")
    parser.add_argument("--batch", type=int, default=1, help="pictures that share one reading of the weights")
    memory.add_arguments(parser)
    scaling.add_arguments(parser)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON document")
    output.add_argument("--csv", type=as_path, metavar="FILE", help="write the table to this file")
    output.add_argument(
        "--draw", type=as_path, metavar="FILE.png", help="draw work and weights of each part of the network"
    )


def run(args):
    """Count and print."""
    from minifer.allowed import Whole, checked
    from minifer.cost import cost_rows, count, separable_blocks
    from minifer.files import check_target

    checked("--batch", args.batch, Whole(1, 10**6))
    if args.csv:
        check_target(args.csv, "table of costs", "--csv")
    if args.draw:
        check_target(args.draw, "PNG picture", "--draw")
    check_together(args)
    args.alpha = 1.0 if args.alpha is None else args.alpha
    args.stem_stride = args.stem_stride or 2
    shape = parse_shape(args.input)
    classes = args.classes
    if classes is None:
        classes = 1000 if shape == IMAGENET else 7
    checked("--classes", classes, Whole(1, 10**6))
    if args.memory:
        networks = []
        for name in named(args):
            model, called = network(name, args, shape, classes)
            model.require_input_gradient(False)
            networks.append((model, name if args.compare else called))
        memory.run(args, shape, classes, networks)
        return
    if args.compare:
        compare(args, shape, classes)
        return
    model, name = network(named(args)[0], args, shape, classes)
    model.require_input_gradient(False)  # as in training: nobody reads the gradient of the pictures
    if args.ranks is not None:
        scaling.run(args, model, name)
        return
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
    if args.csv:
        write_table(args.csv, layer_rows(table, total, args.batch))
        return
    if args.draw:
        from minifer.report.work import draw_work

        draw_work(table, args.draw, f"{name}, {args.input}: {total.multiply_adds / 1e6:.1f} million multiply-adds")
        return
    chosen = "" if args.classes else ", the default for such pictures"
    print(f"{name}, {args.input}, {classes} classes{chosen}; all for one picture")
    print(
        f"total: {total.parameters:,} parameters, {total.trainable_parameters:,} of them trainable; "
        f"{total.multiply_adds:,} multiply-adds ({total.multiply_adds / 1e6:.1f} million)\n"
    )
    print_layers(table, total, args.batch)
    if blocks:
        print_blocks(blocks)
    print_growth(growth(model, attention), attention)


def named(args):
    """Return the networks that the flags name."""
    return [name.strip() for name in args.compare.split(",")] if args.compare else [args.model or "plain"]


def check_together(args):
    """Raise ConfigError for flags of which one would say nothing beside the others."""
    from minifer.own_code import is_target

    ranks, own_table = args.ranks is not None, not OF_BLOCKS.intersection(named(args))
    of_mobilenet = (args.alpha, args.stem_stride) != (None, None)
    for wrong, message in (
        (args.compare and args.model is not None, "--compare names the networks: leave --model out"),
        (args.compare and args.draw, "--draw is of one network: give --model in place of --compare"),
        (args.compare and ranks, "--ranks is of one network: give --model in place of --compare"),
        (
            of_mobilenet and all(map(is_target, named(args))),
            "--alpha and --stem-stride are for MobileNets: a network of your own has its own widths and strides",
        ),
        (args.blocks and own_table, "--blocks is for plain, skip and mha: others have their own tables"),
        (args.memory and args.draw, "--draw is of work and weights: leave out --memory, or write a table with --csv"),
        (args.memory and ranks, "--ranks and --memory are two questions: ask one at a time"),
        (args.fit is not None and not args.memory, "--fit is of the memory of a training step: add --memory"),
        (args.optimizer and not args.memory, "--optimizer is of the memory of a training step: add --memory"),
        (ranks and (args.draw or args.csv), "--ranks prints a table, or --json: leave out --draw and --csv"),
        (not ranks and scaling.given(args), "--step-ms, --latency and --bandwidth are of several ranks: add --ranks"),
    ):
        if wrong:
            raise ConfigError(message)


def network(name, args, shape, classes):
    """Return (the network that a name means, without memory for weights where it is MobileNet; what it is called)."""
    from minifer.config import TrainConfig
    from minifer.kernels.twin import use_backend
    from minifer.networks import build_model, check_output
    from minifer.own_code import is_target

    settings = TrainConfig(
        model="plain" if name == "v1" else name,
        alpha=args.alpha,
        stem_stride=args.stem_stride,
        blocks=args.blocks or "published",
        attention_blocks=None,
    )
    own = settings.model if is_target(settings.model) else None
    called = own or f"MobileNet {settings.model}, alpha {args.alpha:g}"
    if settings.model in ("plain", "skip", "mha"):
        called += f", blocks {settings.blocks}"
    model = build_model(settings, shape, classes, own, outline=True)
    if own:  # formulas alone would count what cannot run; NumPy has nothing to compile before it does
        with use_backend("numpy"):
            check_output(model, own, shape, classes)
    return model, called


def compare(args, shape, classes):
    """Print or write a line for each of several networks."""
    from minifer.cost import cost_rows, count
    from minifer.report.text import aligned

    header = ["network", "parameters", "multiply-adds", "of the first", "depthwise", "activations, kB", "layers"]
    rows, documents = [header], []
    for name in named(args):
        model, _ = network(name, args, shape, classes)
        model.require_input_gradient(False)
        table, _ = cost_rows(model, shape)
        total = count(model, shape)
        depthwise = sum(row.cost.multiply_adds for row in table if row.kind == "DepthwiseConv2D")
        documents.append({"model": name, **figures(total, args.batch), "depthwise_multiply_adds": depthwise})
        ratio, share = (n / d for n, d in (
            (total.multiply_adds, max(documents[0]["multiply_adds"], 1)), (depthwise, max(total.multiply_adds, 1))
        ))  # fmt: skip
        counted = [f"{total.trainable_parameters:,}", f"{total.multiply_adds:,}", f"{ratio:.2f}", f"{share:.1%}"]
        layers = sum(bool(row.cost.multiply_adds) for row in table)
        rows.append([name, *counted, f"{total.activation_bytes / 1000:,.0f}", str(layers)])
    if args.json:
        print_json({"classes": classes, "batch": args.batch, "networks": documents})
    elif args.csv:
        write_table(args.csv, rows)
    else:
        print(
            f"{args.input}, {classes} classes, alpha {args.alpha:g}; all for one picture; layers with multiply-adds\n"
        )
        print("\n".join(aligned(rows)))


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

    print(
        "multiply-adds: of the forward pass, and backward (no gradient of the picture). kB: activations, the float32 "
        "output.\nfwd, bwd: arithmetic intensity, floating-point operations (two a multiply-add) per byte moved, in a "
        f"batch of {batch}.\n"
    )
    print("\n".join(aligned(layer_rows(table, total, batch))) + "\n")


def layer_rows(table, total, batch):
    """Return the cells of a header, of every layer, and of the total."""
    rows = [["layer", "kind", "output", "parameters", "multiply-adds", "backward", "share", "kB", "fwd", "bwd"]]
    for row in table:
        share = 100 * row.cost.multiply_adds / max(total.multiply_adds, 1)
        output = "x".join(map(str, row.output_shape))
        rows.append([row.path, SHORT.get(row.kind, row.kind), output, *cells(row.cost, share, batch)])
    return [*rows, ["total", "", "", *cells(total, 100, batch)]]


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
