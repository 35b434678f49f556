# Indexed and associative arrays: sparse, sliced, copied, unset, passed by name, sorted.
set -eu
declare -a sparse=([3]=three [1000000]=million [7]=seven)
echo "${#sparse[@]} ${!sparse[*]} ${sparse[*]}"
declare -A table
for ((i = 0; i < 4000; i++)); do table[$((i * 7919 % 4001))]="value $i"; done
for ((i = 0; i < 4000; i += 3)); do unset "table[$i]"; done
echo "${#table[@]}"
for key in "${!table[@]}"; do echo "$key=${table[$key]}"; done | sort -n | cksum
add() {
    local -n into=$1
    local word
    for word in "${@:2}"; do into+=("$word$word"); done
}
words=()
for ((i = 0; i < 300; i++)); do add words "a$i" "b$i" "c$i"; done
echo "${#words[@]} ${words[@]:897:3} ${words[-1]}"
copy=("${words[@]/a/A}")
echo "${copy[0]} ${copy[@]: -3:1}"
text="${words[*]}"
mapfile -t -d ' ' split <<<"$text"
echo "${#split[@]} ${text:100:30} ${text^^}" | cksum
IFS=,
joined="${words[*]}"
unset IFS
echo "${#joined} ${joined//[0-9]/}" | cksum
read -r -a fields <<<"$(printf '%s ' {1..2000})"
echo "${#fields[@]} ${fields[1999]}"
