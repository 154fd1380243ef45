"""Numbers below 1.2e-38, which float32 keeps with fewer bits than all others (denormal ones), count as 0 in a kernel.

    for task in prange(tasks):
        control = flush_denormals()
        ...                                 # products and sums
        restore(control)

Many processors leave the arithmetic of such numbers to microcode, which takes a hundred times as long. The gradients of
a softmax that has made up its mind are full of them, and so are the squares that Adam keeps of them: after three epochs
a training step with attention took five times as long as its first. So a task sets two bits of its thread's control
register (FTZ, results that are denormal become 0; DAZ, so do factors), and puts the register back at its end: nobody
else's arithmetic changes. It is done within a task since each thread has a register of its own.

On other processors than x86, and where nothing is compiled, both do nothing. This is one of the files that
kernels/vectors.py names: after editing it, empty the cache folder.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, section 10.2.3.
"""

import platform

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minifer.kernels.twin import serial
from minifer.kernels.vectors import INDEX

FTZ, DAZ = 1 << 15, 1 << 6  # bits of MXCSR
HAS_MXCSR = platform.machine().lower() in ("x86_64", "amd64") and not numba.config.DISABLE_JIT


def _exchange(builder, name, place):
    """Emit the instruction that stores the control register to a place, or loads it from there."""
    byte = ir.IntType(8).as_pointer()
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), [byte]), name)
    builder.call(function, [builder.bitcast(place, byte)])


if HAS_MXCSR:

    @intrinsic
    def flush_denormals(typing):
        """Let denormal numbers count as 0 in this thread; return the control register as it was."""

        def emit(context, builder, signature, args):
            place = cgutils.alloca_once(builder, INDEX)
            _exchange(builder, "llvm.x86.sse.stmxcsr", place)
            before = builder.load(place)
            builder.store(builder.or_(before, INDEX(FTZ | DAZ)), place)
            _exchange(builder, "llvm.x86.sse.ldmxcsr", place)
            return before

        return types.uint32(), emit

    @intrinsic
    def restore(typing, control):
        """Set this thread's control register back."""

        def emit(context, builder, signature, args):
            _exchange(builder, "llvm.x86.sse.ldmxcsr", cgutils.alloca_once_value(builder, args[0]))
            return context.get_dummy_value()

        return types.void(types.uint32), emit
else:

    @serial
    def flush_denormals():
        """Return what restore takes."""
        return 0

    @serial
    def restore(control):
        """There is nothing to set back."""
