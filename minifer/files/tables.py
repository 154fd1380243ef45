"""THE reader of tables of comma-separated values whose first row names the columns, and of numbers in them.

FER2013's own table comes in more forms than this, see data.tables.
"""

import csv
import io
from pathlib import Path

from minifer.errors import DataError
from minifer.files.guard import guarded, open_file


def read_table(path, columns, most_bytes, remedy):
    """Yield (place, {column: text}) of each row that is not blank; the place names file and line in errors.

    columns    that the table must have; it may have others
    remedy     what to do where the file is not such a table
    Raises     DataError when the file is none, has more than most_bytes, or a row has other columns than the first
    """
    path = Path(path)
    with guarded(path, remedy=remedy), open_file(path, remedy) as file:
        if (size := path.stat().st_size) > most_bytes:
            raise DataError(f"{path}: {size} bytes, no such table has more than {most_bytes}: {remedy}")
        rows = csv.reader(io.TextIOWrapper(file, "utf-8-sig", newline=""))
        header = _without_blanks(next(rows, []), 0)
        for name in columns:
            if header.count(name) != 1:
                raise DataError(f"{path}: {'two columns' if name in header else 'no column'} {name!r}: {remedy}")
        for row in rows:
            place, cells = f"{path}, line {rows.line_num}", _without_blanks(row, len(header))
            if not any(map(str.strip, cells)):
                continue
            if len(cells) != len(header):
                raise DataError(f"{place}: {len(cells)} columns, the header has {len(header)}: {remedy}")
            yield place, dict(zip(header, cells, strict=True))


def _without_blanks(cells, count):
    """Return cells without blank ones at the end, as spreadsheets add them, as long as more than count are left."""
    while len(cells) > count and not cells[-1].strip():
        cells.pop()
    return cells


def number(text, place):
    """Return the number that a text is; the place is the cell's in errors."""
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{place}: {text[:20]!r} is no number: correct it, or write the table again") from None
