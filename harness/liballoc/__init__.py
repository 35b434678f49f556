"""liballoc's Python half: builds the library, checks it and runs programs on it.

Layers, top to bottom: commands; report and results; measure; allocators; workload, toolchain and
elf; errors and units. A module imports only modules of layers below its own (tests/tidy reads the
imports).
"""

__version__ = "1.0.0"
