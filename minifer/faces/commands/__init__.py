"""The verbs about faces: one module each, with add_arguments(parser), run(args), and a function of plain arguments."""
