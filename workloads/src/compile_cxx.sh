# Compile, link and run an STL program with threads and exceptions.
set -eu
for level in -O0 -O2; do
    g++ -std=c++17 -Wall "$level" -pthread -c program.cpp -o program.o
    g++ -pthread program.o -o program
    ./program
done
