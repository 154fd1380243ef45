"""Pictures in folders: which split and which class each one is of, as its folders are called.

    .../<split>/<class>/*, .../<class>/<split>/*, or .../<class>/*

below the folders that all pictures are in. The first folder that is called after a split is it, and the first other one
the class. Without any split all are training rows.
"""

from pathlib import PurePosixPath

from minifer.data.layouts import SPLITS, plain
from minifer.data.limits import check_several, check_spelling
from minifer.errors import DataError


def splits_and_classes(members, path):
    """Return [(split, class)] of Members that are pictures.

    Raises     DataError where the folders do not say it, or may say several things
    """
    folders = [PurePosixPath(member.name).parts[:-1] for member in members]
    above = folders_of_all(folders)
    found, inner = [], {}
    for member, folder in zip(members, folders, strict=True):
        below = folder[len(above) :] if folder[: len(above)] == above else folder
        split = next((part for part in below if plain(part) in SPLITS), None)
        rest = [part for part in below if part is not split]
        if not rest:
            raise DataError(f"{member.where}: not in a folder called after its class: put it into one, or remove it")
        found.append((SPLITS[plain(split)] if split else None, rest[0]))
        inner.setdefault(rest[0], set()).add(rest[1] if len(rest) > 1 else None)
    splits = {split for split, _ in found}
    if None in splits and len(splits) > 1:
        lost = next(member for member, (split, _) in zip(members, found, strict=True) if split is None)
        raise DataError(f"{lost.where}: in no folder called train, val or test, as others are: move or remove it")
    check_several(list(inner), path)
    check_depth(inner, path)
    check_spelling({split: {name for other, name in found if other == split} for split in splits}, path)
    return [(split or "train", name) for split, name in found]


def folders_of_all(folders):
    """Return the folders, as parts of a path, that all pictures are in, down to the splits or the classes."""
    above = []
    for names in zip(*folders, strict=False):
        if len(set(names)) > 1 or plain(names[0]) in SPLITS:
            break
        above.append(names[0])
    # Of one class, which is a mistake, but not of none.
    return tuple(above[:-1] if len(set(folders)) == 1 else above)


def check_depth(inner, path):
    """Raise DataError where all classes hold the same folders and no picture: site1/cat, site1/dog, site2/cat, ...

    inner      {class: names of the folders in it, None for a picture in itself}
    """
    first, *others = inner.values()
    if len(first) > 1 and None not in first and all(names == first for names in others):
        classes, folders = (", ".join(sorted(names)) for names in (inner, first))
        raise DataError(
            f"{path}: what are the classes, {classes}, or {folders}, which are in each of them? Put the pictures of a "
            "class into one folder, without others in it"
        )
