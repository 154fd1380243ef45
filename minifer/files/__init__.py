"""Everything that touches files, once.

What is written is written whole or not at all; what is read is trusted in nothing.

    writing      replacing, write_text, write_arrays, make_folder
    archives     open_source: THE reader of folder | zip | tar
    guard        guarded: damage of any kind becomes one error that names the place
"""

from minifer.files.writing import make_folder, replacing, write_arrays, write_text

__all__ = ["make_folder", "replacing", "write_arrays", "write_text"]
