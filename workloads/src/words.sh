# The same program under both awks, then what only gawk has.
set -eu
for awk in gawk mawk; do
    echo "== $awk"
    "$awk" -f words.awk | sort -n | cksum
    "$awk" -f words.awk -v rows=20 | sort -n
done
gawk -f sorted.awk
