"""What `minifer cost --memory` prints: the memory of a training step, of one network or of several."""

from minifer.commands.common import print_json, write_table
from minifer.errors import ConfigError

HEADER = ["layer", "kind", "output", "weights", "gradients", "optimizer", "stored", "working"]
PARTS = ("weights", "gradients", "optimizer", "stored")


def add_arguments(parser):
    """Add the flags of --memory to those of cost."""
    parser.add_argument("--memory", action="store_true", help="the memory of a training step in place of its work")
    parser.add_argument("--optimizer", choices=("adam", "sgd"), help="with --memory (default: adam)")
    parser.add_argument("--fit", type=float, metavar="MB", help="with --memory: the largest batch that fits into this")


def run(args, shape, classes, networks):
    """Print or write the memory of [(network, its name)]; a line for each of several with --compare."""
    from minifer.cost import largest_batch, training_memory

    args.optimizer = args.optimizer or "adam"
    if args.fit is not None and not 0 < args.fit < 1e9:
        raise ConfigError(f"--fit is {args.fit:g}: it must be a number of megabytes above 0")
    found = []
    for model, name in networks:
        memory = training_memory(model, shape, args.batch, args.optimizer)
        fits = None if args.fit is None else largest_batch(model, shape, args.fit * 1e6, args.optimizer)
        found.append((name, memory, fits))
    if args.json:
        document = {"classes": classes, "batch": args.batch, "optimizer": args.optimizer}
        each = [{"model": name, **figures(memory), **fit_figures(args, fits)} for name, memory, fits in found]
        print_json({**document, "networks": each} if args.compare else {**document, **each[0], **layers(found[0][1])})
    elif args.csv:
        write_table(args.csv, summary(args, found) if args.compare else table(found[0][1]))
    else:
        print_tables(args, classes, found)


def print_tables(args, classes, found):
    """Print the table of one network and what it adds up to, or a line for each of several."""
    from minifer.report.text import aligned

    print(
        f"training step, {args.input}, {classes} classes, batch {args.batch}, {args.optimizer}; kB, 1,000 bytes each\n"
        "stored: kept from forward to backward; working: needed beside that while the layer works, at its most\n"
    )
    if args.compare:
        print("\n".join(aligned(summary(args, found))))
        return
    name, memory, fits = found[0]
    print("\n".join(aligned(table(memory))))
    path, direction = memory.peak_at
    print(
        f"\n{name}: weights {megabytes(memory.weights)} + gradients {megabytes(memory.gradients)} + optimizer "
        f"{megabytes(memory.optimizer)}\n+ activations {megabytes(memory.activations)} at their most, in the "
        f"{direction} pass of {path}\n= peak {megabytes(memory.peak)} MB, without the program itself"
    )
    if fits is not None:
        print(f"largest batch that fits into {args.fit:g} MB: {fits or 'none, not even one picture'}")


def megabytes(size):
    """Return bytes as MB with a digit after the point."""
    return f"{size / 1e6:,.1f}"


def table(memory):
    """Return the cells of a header, of every layer, and of the total."""
    from minifer.commands.cost import SHORT

    rows = [HEADER]
    for row in memory.layers:
        output = "x".join(map(str, row.output_shape))
        cells = [kilobytes(getattr(row, part)) for part in (*PARTS, "working")]
        rows.append([row.path, SHORT.get(row.kind, row.kind), output, *cells])
    return [*rows, ["total", "", "", *(kilobytes(getattr(memory, part)) for part in PARTS), ""]]


def kilobytes(size):
    """Return bytes as kB; nothing for nothing."""
    return f"{size / 1000:,.1f}" if size else ""


def summary(args, found):
    """Return the cells of a header and of a line for each network."""
    fit = [] if args.fit is None else [f"batch in {args.fit:g} MB"]
    rows = [["network", *PARTS, "activations", "peak", "at", *fit]]
    for name, memory, fits in found:
        sizes = [kilobytes(getattr(memory, part)) for part in (*PARTS, "activations", "peak")]
        rows.append([name, *sizes, memory.peak_at[0], *([] if args.fit is None else [str(fits)])])
    return rows


def figures(memory):
    """Return a Memory as keys of the JSON document."""
    sizes = {f"{part}_bytes": getattr(memory, part) for part in (*PARTS, "activations", "peak")}
    return {**sizes, "peak_layer": memory.peak_at[0], "peak_pass": memory.peak_at[1]}


def fit_figures(args, fits):
    """Return what --fit found as keys of the JSON document."""
    return {} if fits is None else {"fit_megabytes": args.fit, "largest_batch": fits}


def layers(memory):
    """Return the rows of a Memory as a key of the JSON document."""
    rows = []
    for row in memory.layers:
        sizes = {f"{part}_bytes": getattr(row, part) for part in (*PARTS, "working")}
        rows.append({"path": row.path, "kind": row.kind, "output_shape": list(row.output_shape), **sizes})
    return {"layers": rows}
