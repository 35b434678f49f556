# The static programs get the archive that lies beside the library of this run, if there is one.
set -eu
archive=(${LD_PRELOAD:+"${LD_PRELOAD%.so}.a"})
for source in program threads; do
    musl-gcc -O1 -Wall "$source.c" -o "dynamic-$source"
    musl-gcc -O1 -static "$source.c" "${archive[@]}" -o "static-$source"
    musl-gcc -O1 -static-pie -fPIE "$source.c" "${archive[@]}" -o "pie-$source"
    for kind in dynamic static pie; do
        echo "== $kind-$source"
        "./$kind-$source"
    done
done
