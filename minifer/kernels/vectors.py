"""Vector instructions written by hand: what the files that emit them share.

They are tile, packing, rows, window, normalized, octets, exponentials and denormals.

A loop that Numba compiles is turned into vector instructions when the compiler can prove that it may; in the innermost
loops of this package it can't, or finds a slower form. There the instructions are emitted with llvmlite. Where the
processor has no fused multiply-add, or the JIT is off, plain loops take their place.

Numba's cache does not notice when a compiled helper in another file changes. These files are the one exception to the
rule that helpers live beside their callers: after editing one, empty the cache folder (`minifer doctor` names it).
"""

import platform
from contextlib import contextmanager

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils

INTEGER = ir.IntType(64)
INDEX = ir.IntType(32)  # of a lane


def _vector_bytes():
    """Bytes of the widest vector this processor can multiply and add in one instruction; 0 if it has none."""
    if numba.config.DISABLE_JIT or numba.config.CPU_NAME or numba.config.CPU_FEATURES:
        return 0  # nothing is compiled, or for another processor
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    if features.get("avx2") and features.get("fma"):
        return 32
    return 16 if platform.machine() in ("aarch64", "arm64") else 0


VECTOR_BYTES = _vector_bytes()


def _has(features):
    """Whether this processor has the feature that vectors of VECTOR_BYTES need, of {bytes: feature}."""
    return VECTOR_BYTES in features and bool(llvmlite.binding.get_host_cpu_features().get(features[VECTOR_BYTES]))


# Whether it multiplies pairs of bfloat16 (AMD's since Zen 4, Intel's for servers since Cooper Lake).
HAS_BFLOAT16 = _has({64: "avx512bf16"})
# Whether it multiplies fours of bytes (Intel's since Ice Lake and Alder Lake, AMD's since Zen 4).
HAS_OCTETS = _has({64: "avx512vnni", 32: "avxvnni"})


class Emitter:
    """The builder of one function's instructions, with its arguments and the vector type of its first array.

    An array of uint32 holds pairs of bfloat16 (see kernels/bfloat16.py), one of int32 fours of bytes (see
    kernels/octets.py): they are moved as they are, and `sums` is the vector that their products are added to. For all
    other arrays that is `vector` itself.
    """

    def __init__(self, context, builder, signature, args):
        self.context, self.builder, self.signature, self.args = context, builder, signature, args
        self.element = context.get_value_type(signature.args[0].dtype)
        self.element_bytes = context.get_abi_sizeof(self.element)
        self.lanes = VECTOR_BYTES // self.element_bytes
        self.few_lanes = max(1, self.lanes // 4)  # for what a whole vector is too wide for
        self.vector = self.sums = ir.VectorType(self.element, self.lanes)
        self.dtype = signature.args[0].dtype
        if self.dtype == types.uint32:
            self.sums = ir.VectorType(ir.FloatType(), self.lanes)
        if VECTOR_BYTES == 64:
            # Left to itself LLVM splits 64-byte vectors into halves on most processors; llvmlite's list of permitted
            # attributes lacks this one, hence set.add.
            set.add(builder.function.attributes, '"min-legal-vector-width"="512"')

    def data(self, index):
        """Return the pointer to the first entry of the array that is argument `index`."""
        array = self.context.make_array(self.signature.args[index])
        return array(self.context, self.builder, self.args[index]).data

    def pointer(self, index, start):
        """Return the pointer to entry `start` of the array that is argument `index`."""
        return self.builder.gep(self.data(index), [start])

    def vector_at(self, base, offset, kind=None):
        """Return base + offset as a pointer to a vector."""
        offset = offset if isinstance(offset, ir.Value) else INTEGER(offset)
        return self.builder.bitcast(self.builder.gep(base, [offset]), (kind or self.vector).as_pointer())

    def load(self, pointer):
        """Load from an address of no particular alignment."""
        return self.builder.load(pointer, align=self.element_bytes)

    def store(self, value, pointer):
        """Store to an address of no particular alignment."""
        self.builder.store(value, pointer, align=self.element_bytes)

    def function(self, name, returns, *arguments):
        """Return an intrinsic function of LLVM."""
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(returns, arguments), name)

    def fma(self, kind=None):
        """Return the fused multiply-add of a kind of vector, or of single numbers."""
        kind = kind or self.vector
        lanes = f"v{kind.count}" if isinstance(kind, ir.VectorType) else ""
        return self.function(f"llvm.fma.{lanes}f{8 * self.element_bytes}", kind, kind, kind, kind)

    def multiply_add(self, a, b, total):
        """Return total + a * b for two vectors of the first array's kind; pairs and fours add all their products."""
        together = {types.uint32: "avx512bf16.dpbf16ps", types.int32: "avx512.vpdpbusd"}.get(self.dtype)
        if together is None:
            return self.builder.call(self.fma(), [a, b, total])
        name = f"llvm.x86.{together}.{8 * VECTOR_BYTES}"
        add = self.function(name, self.sums, self.sums, self.vector, self.vector)
        return self.builder.call(add, [total, a, b])

    def zero(self, kind):
        """Return a vector of zeros."""
        return ir.Constant(kind, [0 if isinstance(kind.element, ir.IntType) else 0.0] * kind.count)

    def fill(self, value, kind):
        """Return a vector with the same value in every lane."""
        undefined = ir.Constant(kind, ir.Undefined)
        value = self.builder.insert_element(undefined, value, INDEX(0))
        return self.builder.shuffle_vector(value, undefined, ir.Constant(ir.VectorType(INDEX, kind.count), None))

    def prefetch(self, pointer):
        """Ask for a cache line before it is needed. Any address will do: one outside of the array is ignored."""
        byte = ir.IntType(8).as_pointer()
        call = self.function("llvm.prefetch.p0", ir.VoidType(), byte, INDEX, INDEX, INDEX)
        self.builder.call(call, [self.builder.bitcast(pointer, byte), INDEX(0), INDEX(3), INDEX(1)])

    @contextmanager
    def while_room(self, place, step, length):
        """Emit the body of a with statement, given c = *place, as long as c + step <= length; c moves on by step."""
        builder = self.builder
        test, inside, done = (builder.append_basic_block(f"room_{name}") for name in ("test", "inside", "done"))
        builder.branch(test)
        builder.position_at_end(test)
        c = builder.load(place)
        following = builder.add(c, INTEGER(step))
        builder.cbranch(builder.icmp_signed("<=", following, length), inside, done)
        builder.position_at_end(inside)
        yield c
        builder.store(following, place)
        builder.branch(test)
        builder.position_at_end(done)

    def loop(self, count, starts, body):
        """Emit `body(values) -> next values` count times (at least once); return the last values.

        starts are the values before the first turn; each lives in a register while the loop runs (a phi node).
        """
        builder, before = self.builder, self.builder.block
        turn, done = builder.append_basic_block("turn"), builder.append_basic_block("done")
        builder.branch(turn)
        builder.position_at_end(turn)
        k, values = builder.phi(INTEGER), [builder.phi(start.type) for start in starts]
        following = body(values)
        after = builder.add(k, INTEGER(1))
        for phi, start, then in [(k, INTEGER(0), after), *zip(values, starts, following, strict=True)]:
            phi.add_incoming(start, before)
            phi.add_incoming(then, turn)
        builder.cbranch(builder.icmp_signed("<", after, count), turn, done)
        builder.position_at_end(done)
        return following
