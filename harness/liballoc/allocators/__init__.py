"""The allocators that programs are run on: which there are, how each gets into a process."""
