# One big loop without a fork: strings that grow, are cut and matched; functions and locals.
set -eu
text=""
declare -A seen
square() { local n=$1 result; result=$((n * n)); REPLY=$result; }
for ((i = 0; i < 20000; i++)); do
    square "$i"
    text+="$REPLY,"
    if ((${#text} > 3000)); then text=${text:1500}; fi
    if [[ $REPLY =~ (1[0-9]+)9 ]]; then seen[${BASH_REMATCH[1]}]=$i; fi
    case $REPLY in *000) zeros=$((${zeros:-0} + 1)) ;; esac
done
echo "${#text} ${#seen[@]} $zeros ${text: -40}"
printf '%s\n' "${!seen[@]}" | sort | cksum
