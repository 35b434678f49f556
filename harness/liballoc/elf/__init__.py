"""What the built shared object must be, read from its ELF file."""
