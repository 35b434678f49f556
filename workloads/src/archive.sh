# A tree of a thousand files: archived, compressed in four ways, listed, extracted, compared.
set -eu
mkdir tree
for ((d = 0; d < 40; d++)); do
    long="tree/folder-$d-$(printf '%0100d' $d)"
    mkdir "$long"
    for ((f = 0; f < 25; f++)); do printf '%*s' $((f * d * 31)) "$f" >"$long/file-$f"; done
    ln -s "file-1" "$long/link"
    ln "$long/file-2" "$long/hard"
done
same=(--sort=name --mtime=2026-01-01 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX)
tar "${same[@]}" --format=gnu -cf tree.tar tree
for suffix in gz xz bz2 zst; do
    GZIP=-n tar "${same[@]}" --format=pax --pax-option=delete=atime,delete=ctime -caf \
        "tree.tar.$suffix" tree 2>/dev/null
    mkdir "out-$suffix"
    tar -C "out-$suffix" -xaf "tree.tar.$suffix"
    diff -r tree "out-$suffix/tree"
done
tar -tvf tree.tar --exclude='*file*' | tail -n 3
tar --delete -f tree.tar --wildcards 'tree/folder-3*'
tar -rf tree.tar "${same[@]}" tree/folder-3-*/file-7
tar -tf tree.tar | wc -l
