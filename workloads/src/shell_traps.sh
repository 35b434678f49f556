# Traps on signals, errors, return and exit; a signal to itself in the middle of work.
set -u
count=0
trap 'count=$((count + 1)); list+=("signal $count")' USR1
list=()
for ((i = 0; i < 200; i++)); do
    kill -USR1 $$
    words=($(echo "$i" "$i"))
    list+=("${words[0]}")
done
echo "signals $count, list ${#list[@]}"
(trap 'echo "leaving with $?"' EXIT; trap 'echo "failed"' ERR; false; exit 4)
echo "status $?"
(trap 'echo "terminated"; exit 5' TERM; kill -TERM "$BASHPID"; echo "not reached")
echo "status $?"
{ (kill -KILL "$BASHPID"); } 2>/dev/null
echo "status $?"
outer() { trap 'echo "return from ${FUNCNAME[0]}"' RETURN; inner; }
inner() { local text; printf -v text '%*s' 5000 ''; echo "${#text}"; }
outer
(set -e; trap 'echo "exit under set -e: $?"' EXIT; cat /nonexistent/file)
bash -c 'trap "echo bye" EXIT; exec true'
echo "end"
