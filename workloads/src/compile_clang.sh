# Compiles with clang, with and without optimisation, links with lld, runs.
set -eu
flags=(-std=c++17 -Wall -pthread)
# As a rule lld ends by _exit and frees nothing; in a test it takes everything down.
for level in -O0 -O2; do
    clang++-14 "${flags[@]}" "$level" -fuse-ld=lld-14 program.cpp -o program
    ./program
    LLD_IN_TEST=1 clang++-14 "${flags[@]}" "$level" -fuse-ld=lld-14 -flto throwing.cpp -o throwing
    ./throwing
done
clang++-14 "${flags[@]}" -O2 -S -emit-llvm throwing.cpp -o throwing.ll
clang++-14 "${flags[@]}" --analyze throwing.cpp
clang++-14 -fsyntax-only -DWRONG throwing.cpp 2>&1 | head -n 3
