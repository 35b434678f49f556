# Configures, builds, tests and builds again.
set -eu
export CC=gcc CXX=g++
cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
    >configure.log 2>&1 || { cat configure.log; exit 1; }
ninja -C build -j 2 >build.log || { cat build.log; exit 1; }
grep -c '' build/compile_commands.json
(cd build && ctest -j 2 | sed -n 's/ *[0-9.]* sec.*//; /tests passed/p')
touch program.c
ninja -C build -j 2 -d explain 2>&1 |
    sed -n 's/^ninja explain: output \([^ ]*\) older.*/\1 is old/p'
ninja -C build -t deps | grep -c program
build/program_c | tail -n 3
build/program_cxx | tail -n 3
