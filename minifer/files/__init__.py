"""Everything that touches files, once.

What is written is written whole or not at all; what is read is trusted in nothing.

    writing      replacing, write_text, table_text, make_folder, printable, user_path
    targets      check_target: nothing of another kind is written over
    locks        claimed: one writer at a time
    archives     open_source: THE reader of folder | zip | tar
    npz          Npz: THE reader of .npz; write_npz, write_arrays
    cache        cache_folder, keep_arrays: what can be made again
    tables       read_table: comma-separated values whose first row names the columns
    documents    read_json, checked_fields: JSON of which every field is checked
    guard        guarded: damage of any kind becomes one error that names the place; open_file: never a pipe
"""

from minifer.files.locks import claimed
from minifer.files.targets import check_target
from minifer.files.writing import make_folder, printable, replacing, table_text, user_path, write_text

__all__ = ["check_target", "claimed", "make_folder", "printable", "replacing", "table_text", "user_path", "write_text"]
