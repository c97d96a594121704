"""What a program compiled for a TPU costs, read from the compiler's text.

The compiler writes beside most instructions how many cycles it expects them to take, but not beside
look-ups, scatters and sorts, and a loop's body stands there once. So the cycles are

* those of the compiler, times the number of times that the loops around go round: read from the
  text, where the compiler knows it, else as it was counted. A loop of unknown length leaves the
  whole unknown;
* 8 for each element, or contiguous slice, that is looked up in a table, and what its bytes take at
  819 GB/s, a v5e's memory; 10 for each that is scattered: as read from schedules of such loops;
* of a sort 4 for each step of a bitonic network, operand and register of 1,024 elements: an
  assumption, of a load, a comparison, an exchange and a store.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

CYCLES_PER_SECOND = 1.5e9  # of a v5e
_GATHER, _SCATTER, _SORT_STEP = 8, 10, 4
_REGISTER = 1024  # elements
_BYTES_PER_CYCLE = 819e9 / CYCLES_PER_SECOND

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"(?:^|[\s)\]}])([a-z][\w\-]*)\(")
_SHAPE = re.compile(r"[a-z]+\d*\[([\d,]*)\]")


class Costs(NamedTuple):
    """Of one call of a program."""

    cycles: float = 0.0  # that the compiler expects
    gathered: float = 0.0  # elements or slices looked up
    scattered: float = 0.0
    sorting: float = 0.0  # cycles
    looked_up: float = 0.0  # bytes of the elements or slices
    loops: tuple[str, ...] = ()  # how often each goes round; "?" where that is unknown

    @property
    def all_cycles(self) -> float:
        """Of everything; not a number if a loop's length is unknown."""
        if "?" in self.loops:
            return math.nan
        tables = _GATHER * self.gathered + _SCATTER * self.scattered
        return self.cycles + tables + self.looked_up / _BYTES_PER_CYCLE + self.sorting

    def plus(self, other: "Costs", times: float = 1) -> "Costs":
        return Costs(
            self.cycles + times * other.cycles,
            self.gathered + times * other.gathered,
            self.scattered + times * other.scattered,
            self.sorting + times * other.sorting,
            self.looked_up + times * other.looked_up,
            self.loops + other.loops,
        )


class _Instruction(NamedTuple):
    name: str
    opcode: str
    text: str  # all behind the equals sign

    @property
    def shape(self) -> list[int]:
        """Of the first array that it makes."""
        found = _SHAPE.search(self.text)
        return [int(size) for size in found[1].split(",") if size] if found else []

    @property
    def itemsize(self) -> int:
        """Bytes of an element of the first array that it makes."""
        found = re.search(r"[a-z]+(\d+)\[", self.text)
        return int(found[1]) // 8 if found else 1

    def named(self, attribute: str) -> str | None:
        """The computation that an attribute names."""
        found = re.search(rf"{attribute}=%?([\w.\-]+)", self.text)
        return found[1] if found else None


def costs(text: str, rounds: Callable[[str], float | None] = lambda _: None) -> Costs:
    """Of a program.

    Args:
      text: the optimized program, as `jax.stages.Compiled.as_text` gives it.
      rounds: how often a loop goes round of which only the data say it, by the name of its
        operation in the source; None if that is unknown.
    """
    computations, entry = _parsed(text)
    return _of_computation(entry, computations, rounds)


def _parsed(text: str) -> tuple[dict[str, dict[str, _Instruction]], str]:
    """The instructions of each computation by name, and the name of the entry."""
    computations: dict[str, dict[str, _Instruction]] = {}
    inside: dict[str, _Instruction] = {}
    entry = ""
    for line in text.splitlines():
        if start := _COMPUTATION.match(line):
            inside = computations[start[2]] = {}
            entry = start[2] if start[1] else entry
        elif found := _INSTRUCTION.match(line):
            opcode = _OPCODE.search(found[2])
            inside[found[1]] = _Instruction(found[1], opcode[1] if opcode else "", found[2])
    return computations, entry


def _of_computation(
    name: str,
    computations: dict[str, dict[str, _Instruction]],
    rounds: Callable[[str], float | None],
) -> Costs:
    total = Costs()
    for one in computations[name].values():
        if estimate := re.search(r'"estimated_cycles":"(\d+)"', one.text):
            total = total.plus(Costs(float(estimate[1])))
        if one.opcode == "while":
            trips: float | None = _trips(one, computations)
            if trips is None and (named := re.search(r'op_name="([^"]*)"', one.text)):
                trips = rounds(named[1])
            body = _of_computation(str(one.named("body")), computations, rounds)
            total = total.plus(Costs(loops=("?" if trips is None else f"{round(trips, 1):g}",)))
            total = total.plus(body, 1 if trips is None else trips)
        elif one.opcode == "conditional":
            branches = [_of_computation(branch, computations, rounds) for branch in _branches(one)]
            total = total.plus(max(branches, key=lambda branch: sum(branch[:4])))
        elif one.opcode == "gather":
            size = re.search(r"slice_sizes=\{([\d,]*)\}", one.text)
            slice_size = math.prod(int(n) for n in size[1].split(",") if n) if size else 1
            count = math.prod(one.shape)
            found = Costs(gathered=count / slice_size, looked_up=count * one.itemsize)
            total = total.plus(found)
        elif one.opcode == "scatter":
            total = total.plus(Costs(scattered=_scattered(one, computations[name])))
        elif one.opcode == "sort":
            total = total.plus(Costs(sorting=_sorting(one)))
        elif one.opcode in ("call", "fusion"):
            called = one.named("calls") or one.named("to_apply")
            inside = _of_computation(str(called), computations, rounds)
            # An estimate of the whole includes its parts.
            total = total.plus(inside._replace(cycles=0.0) if estimate else inside)
    return total


def _trips(loop: _Instruction, computations: dict[str, dict[str, _Instruction]]) -> int | None:
    """How often a loop goes round, None if only the data say it."""
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.text):
        return int(known[1])
    condition = computations[str(loop.named("condition"))].values()
    constants = [re.search(r"constant\((\d+)\)", one.text) for one in condition]
    limits = [int(found[1]) for found in constants if found]
    compares = [one for one in condition if one.opcode == "compare"]
    if len(limits) == len(compares) == 1 and "direction=LT" in compares[0].text:
        return limits[0]
    return None


def _branches(one: _Instruction) -> Sequence[str]:
    if listed := re.search(r"branch_computations=\{([^}]*)\}", one.text):
        return re.findall(r"%?([\w.\-]+)", listed[1])
    return [str(one.named("true_computation")), str(one.named("false_computation"))]


def _scattered(one: _Instruction, inside: dict[str, _Instruction]) -> float:
    """How many elements, or slices, a scatter of one operand writes."""
    operands = re.findall(r"%([\w.\-]+)", one.text.split(" scatter(")[1].split(")")[0])
    updates = inside[operands[-1]].shape
    window = re.search(r"update_window_dims=\{([\d,]*)\}", one.text)
    dims = [int(n) for n in window[1].split(",") if n] if window else []
    return math.prod(size for axis, size in enumerate(updates) if axis not in dims)


def _sorting(one: _Instruction) -> float:
    """Cycles of a bitonic network, along the sorted axis."""
    found = re.search(r"dimensions=\{(\d+)\}", one.text)
    axis, shape = int(found[1]) if found else 0, one.shape
    power = max(1, math.ceil(math.log2(max(2, shape[axis]))))
    rows = math.prod(shape) / max(1, shape[axis])
    registers = math.ceil(rows * 2**power / _REGISTER)
    operands = one.text.split(" sort(")[1].split(")")[0].count("%")
    return _SORT_STEP * registers * operands * power * (power + 1) / 2
