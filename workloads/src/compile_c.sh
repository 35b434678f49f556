# Compile, link and run a C program at several levels of optimisation.
set -eu
for level in -O0 -O2 -O3; do
    gcc -Wall -g "$level" -c program.c -o program.o
    gcc program.o -o program
    ./program
done
