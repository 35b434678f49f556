"""Follows and classifies machine code with capstone.

`reachable_calls` answers whether a function calls another one (calloc itself: a compiler that
recognises malloc followed by memset turns that into a call of calloc, which never ends).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import capstone
from capstone import arm64, riscv, x86

from liballoc.elf.finding import Finding
from liballoc.elf.image import Image

# The relocations by which a symbol is called through the PLT or the GOT.
INDIRECT = {
    "R_X86_64_JUMP_SLOT", "R_X86_64_GLOB_DAT", "R_AARCH64_JUMP_SLOT", "R_AARCH64_GLOB_DAT",
    "R_RISCV_JUMP_SLOT", "R_RISCV_64",
}  # fmt: skip

# A linear read of one function; the longest function has a few thousand bytes.
FUNCTION_BYTES_MAX = 64 * 1024


@dataclass(frozen=True)
class Counts:
    """What a run of instructions consists of.

    branches are conditional jumps; jumps the unconditional ones; loads and stores count the
    instructions that read or write memory, push and pop among them, lea, prefetch and nop not;
    calls count call instructions. The return counts as an instruction only.
    """

    instructions: int = 0
    branches: int = 0
    jumps: int = 0
    loads: int = 0
    stores: int = 0
    calls: int = 0


def make_disassembler(image: Image) -> Any:
    """capstone for the image's architecture, with operand details."""
    architecture, mode = {
        "EM_X86_64": (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
        "EM_AARCH64": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM),
        "EM_RISCV": (capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV64 | capstone.CS_MODE_RISCVC),
    }[image.machine]
    disassembler = capstone.Cs(architecture, mode)
    disassembler.detail = True
    return disassembler


def branch_target(instruction: Any, before: Any = None) -> int | None:
    """The address a direct call or jump goes to; `before` is the instruction before it."""
    if instruction.mnemonic == "jalr":
        return _far_target(instruction, before)
    groups = set(instruction.groups)
    jumps = {capstone.CS_GRP_JUMP, capstone.CS_GRP_CALL, capstone.CS_GRP_BRANCH_RELATIVE}
    is_riscv_jump = instruction.mnemonic in ("jal", "c.jal", "j", "c.j")
    if not groups & jumps and not is_riscv_jump:
        return None
    immediate = {x86.X86_OP_IMM, arm64.ARM64_OP_IMM, riscv.RISCV_OP_IMM}
    for operand in reversed(instruction.operands):
        if operand.type in immediate:
            # capstone gives RISC-V's as a distance, the others' as an address.
            base = instruction.address if _is_riscv(instruction) else 0
            return int(operand.imm) + base
    return None


def _far_target(instruction: Any, before: Any) -> int | None:
    """RISC-V goes further than 1 MiB by two instructions: pages from here, then bytes."""
    if len(instruction.operands) != 3:
        return None
    _, base, offset = instruction.operands
    if before is None or before.mnemonic != "auipc" or before.operands[0].reg != base.reg:
        return None
    pages = before.operands[1].imm
    signed = pages - (1 << 20) if pages >= 1 << 19 else pages
    return int(before.address + (signed << 12) + offset.imm)


def _is_riscv(instruction: Any) -> bool:
    return bool(instruction._cs.arch == capstone.CS_ARCH_RISCV)


def walk(image: Image, start: int) -> Iterator[tuple[Any, int | None]]:
    """Every instruction that can be reached from `start` by falling through and direct jumps, and
    where it goes to."""
    disassembler = make_disassembler(image)
    waiting, seen = [start], set[int]()
    while waiting:
        address = waiting.pop()
        code = image.read(address, FUNCTION_BYTES_MAX)
        before = None
        for instruction in disassembler.disasm(code, address):
            if instruction.address in seen:
                break
            seen.add(instruction.address)
            target = branch_target(instruction, before)
            before = instruction
            yield instruction, target
            if target is not None:
                waiting.append(target)
            if _ends_block(instruction):
                break


def _ends_block(instruction: Any) -> bool:
    if capstone.CS_GRP_RET in instruction.groups:
        return True
    if instruction.mnemonic == "jalr" and len(instruction.operands) == 3:
        return bool(instruction.operands[0].reg == riscv.RISCV_REG_ZERO)
    return instruction.mnemonic in (
        "jmp", "ret", "ud2", "hlt", "int3", "b", "br", "brk", "udf", "j", "c.j", "jr", "c.jr",
        "unimp", "c.unimp", "ebreak", "c.ebreak",
    )  # fmt: skip


def check_calloc(image: Image, name: str) -> Iterator[Finding]:
    """calloc, by the name that the library has for it, reaches itself neither directly nor through
    the PLT.
    """
    rule = "calloc does not call calloc"
    calloc = image.exported(name)
    if calloc is None:
        yield Finding(rule, f"{name} is not exported")
        return
    indirect = [
        entry.kind
        for entry in image.relocations
        if entry.symbol in {"calloc", name} and entry.kind in INDIRECT
    ]
    if indirect:
        yield Finding(rule, f"called through the PLT or GOT: {', '.join(sorted(set(indirect)))}")
        return
    callers = [
        f"{instruction.address:#x}: {instruction.mnemonic} {instruction.op_str}"
        for instruction, target in walk(image, calloc.address)
        if target == calloc.address
    ]
    yield Finding(rule, "; ".join(callers))


def count(image: Image, addresses: list[int]) -> Counts:
    """Classify the x86-64 instructions at the addresses, in the order they were executed."""
    disassembler = make_disassembler(image)
    totals = dict.fromkeys(("branches", "jumps", "loads", "stores", "calls"), 0)
    for address in addresses:
        instruction = next(disassembler.disasm(image.read(address, 16), address, 1))
        groups = set(instruction.groups)
        if capstone.CS_GRP_CALL in groups:
            totals["calls"] += 1
        elif capstone.CS_GRP_JUMP in groups:
            totals["jumps" if instruction.mnemonic == "jmp" else "branches"] += 1
        loads, stores = _memory_access(instruction)
        totals["loads"] += loads
        totals["stores"] += stores
    return Counts(instructions=len(addresses), **totals)


def _memory_access(instruction: Any) -> tuple[bool, bool]:
    name = instruction.mnemonic
    if name.startswith(("lea", "nop", "prefetch")):
        return False, False
    if name in ("push", "pop"):
        return name == "pop", name == "push"
    if name.startswith(("mov", "vmov")):
        # capstone calls the stores of vector moves reads.
        memory = [op.type == x86.X86_OP_MEM for op in instruction.operands]
        return any(memory[1:]), any(memory[:1])
    access = [op.access for op in instruction.operands if op.type == x86.X86_OP_MEM]
    loads = any(value & capstone.CS_AC_READ for value in access)
    stores = any(value & capstone.CS_AC_WRITE for value in access)
    # capstone reports no access for the memory operand of cmp and test in some forms.
    if access and not (loads or stores):
        loads = True
    return loads, stores
