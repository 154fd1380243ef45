"""What classes and pictures a network may have: one rule for data that is read, and for weights that are.

A weights file comes from anywhere, therefore what it says of itself has limits. Data beyond them is refused as well: a
training on it would go to its end, and nobody could load the weights.
"""

import re

from minifer.errors import DataError

MOST_CLASSES = 1000
MOST_CHARACTERS = 100  # of a class's name
MOST_SIDE = 1024  # of a picture
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # what ends a line, or tells a terminal what to do


def check_names(names, where, error=DataError):
    """Raise an error unless these are names of classes: of one line each, not empty, not very long, none twice."""
    if len(names) > MOST_CLASSES:
        raise error(f"{where}: {len(names)} classes, more than {MOST_CLASSES}: keep some of them with --classes")
    for name in names:
        if not name.strip() or len(name) > MOST_CHARACTERS:
            raise error(
                f"{where}: the class {name[:20]!r} has a name of {len(name)} characters: rename it, with 1 to "
                f"{MOST_CHARACTERS} that are not all blank"
            )
        if CONTROL.search(name):
            raise error(f"{where}: a line break or another control character is in the class name {name!r}: rename it")
    if twice := [name for name in names if names.count(name) > 1]:
        raise error(f"{where}: the class {twice[0]!r} is there twice: give each class a name of its own")


def check_several(names, where):
    """Raise DataError unless there are classes to choose between."""
    if len(names) < 2:
        raise DataError(f"{where}: all pictures are of one class, {names[0]}: there must be two or more")


def check_spelling(found, where):
    """Raise DataError where splits spell a class differently: train/cat and val/Cat.

    Where one split holds both, as the letters a and A, they are two classes.

    found      {split: names of its classes}
    """
    spellings = {}
    for name in sorted(set().union(*found.values())):
        spellings.setdefault(name.strip().casefold(), set()).add(name)
    for names in spellings.values():
        if len(names) > 1 and not any(names <= set(others) for others in found.values()):
            raise DataError(
                f"{where}: {' and '.join(map(repr, sorted(names)))}, which no split has both of, look like one class: "
                "spell it alike in all splits"
            )


def check_side(height, width, where):
    """Raise DataError when pictures are larger than a network may read."""
    if max(height, width) > MOST_SIDE:
        raise DataError(
            f"{where}: pictures of {height} x {width}, and no side may have more than {MOST_SIDE}: fit them into "
            "squares with --size"
        )
