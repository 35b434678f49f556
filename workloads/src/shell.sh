# Arrays, subshells, pipes, here-documents and traps: bash's own use of the heap.
set -eu
declare -A count
text=""
for ((i = 0; i < 3000; i++)); do
    count["key$((i % 97))"]=$((${count["key$((i % 97))"]:-0} + i))
    text+="line $i of the text"$'\n'
done
for key in "${!count[@]}"; do echo "$key ${count[$key]}"; done | sort | sed -n '1,20p'
grep -c '9 of' <<<"$text"
total=0
for ((i = 0; i < 40; i++)); do
    part=$( (echo $((i * i))) )
    total=$((total + part))
done
echo "squares: $total"
mapfile -t lines < <(printf '%s' "$text")
echo "lines: ${#lines[@]}, last: ${lines[-1]}"
printf -v wide '%*s' 9000 ''
echo "wide: ${#wide} ${wide// /x}" | sed 's/xxxxxxxx*/X/'
(trap 'echo "exit trap"' EXIT; exit 3) || echo "status $?"
cat <<TEXT
here-document with $((6 * 7))
TEXT
