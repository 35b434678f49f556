# Subshells in subshells, pipes, process substitution, coprocesses and background jobs.
set -eu
deep() { if (($1 == 0)); then echo bottom; else (x=$(deep $(($1 - 1))); echo "$1 $x"); fi; }
deep 12
for ((i = 0; i < 60; i++)); do
    x=$(echo "$i" | { read -r n; echo $((n * n)); })
    sum=$((${sum:-0} + x))
done
echo "sum $sum"
coproc UPPER { while read -r line; do echo "${line^^}"; done; }
upper=$UPPER_PID # gone from the variable as soon as the coprocess is
for word in alpha beta gamma; do
    echo "$word" >&"${UPPER[1]}"
    read -r answer <&"${UPPER[0]}"
    echo "coprocess: $answer"
done
exec {UPPER[1]}>&-
wait "$upper"
cat <(seq 1 500 | tr 0-9 a-j) <(seq 1 500 | sed 's/5/five/g') | cksum
pids=()
for ((i = 0; i < 20; i++)); do (exit $((i % 7))) & pids+=($!); done
states=""
for pid in "${pids[@]}"; do wait "$pid" && states+=" 0" || states+=" $?"; done
echo "background:$states"
while read -r line; do (echo "in a subshell: $line"); done <<TEXT
$(for n in 1 2 3; do echo "here $n $(echo "nested $n")"; done)
TEXT
cat <<'RAW' <<-INDENTED
	not shown
RAW
	indented $((2 ** 40)) $(printf '%05d' 42)
	INDENTED
