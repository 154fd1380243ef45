"""Count what a network costs for one picture, layer by layer, and what ordinary convolutions in its place would."""

from minifer.commands.common import parse_shape, print_json


def add_arguments(parser):
    """Add the flags."""
    parser.add_argument("--model", choices=("plain", "skip", "mha"), default="plain")
    parser.add_argument("--alpha", type=float, default=1.0, help="width multiplier")
    parser.add_argument("--input", default="48x48x1", metavar="HxWxC", help="shape of a picture")
    parser.add_argument("--classes", type=int, default=7)
    parser.add_argument("--stem-stride", type=int, default=2, choices=(1, 2))
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args):
    """Count and print."""
    from minifer.cost import count
    from minifer.models import mobilenet

    shape = parse_shape(args.input)
    model = mobilenet(
        args.model, alpha=args.alpha, input_shape=shape, classes=args.classes, stem_stride=args.stem_stride
    )
    table, _ = model.cost_rows(shape)
    total = count(model, shape)
    if args.json:
        print_json(
            {
                "parameters": total.parameters,
                "trainable_parameters": total.trainable_parameters,
                "multiply_adds": total.multiply_adds,
                "layers": [
                    {
                        "path": row.path,
                        "kind": row.kind,
                        "input_shape": list(row.input_shape),
                        "output_shape": list(row.output_shape),
                        "parameters": row.cost.parameters,
                        "trainable_parameters": row.cost.trainable_parameters,
                        "multiply_adds": row.cost.multiply_adds,
                    }
                    for row in table
                ],
            }
        )
        return
    print(f"{'layer':28} {'kind':24} {'output':>12} {'parameters':>12} {'multiply-adds':>14} {'share':>7}")
    for row in table:
        share = 100 * row.cost.multiply_adds / total.multiply_adds
        output = "x".join(map(str, row.output_shape))
        print(
            f"{row.path:28} {row.kind:24} {output:>12} {row.cost.parameters:12,} "
            f"{row.cost.multiply_adds:14,} {share:5.1f} %"
        )
    print(
        f"total: {total.parameters:,} parameters, {total.trainable_parameters:,} of them trainable; "
        f"{total.multiply_adds:,} multiply-adds ({total.multiply_adds / 1e6:.1f} million)"
    )
