# The program spins, its threads at rest; the debugger comes, calls malloc, and lets it go on.
set -eu
gcc -g -O1 -pthread attached.c -o attached
./attached >answers &
until grep -qs ready answers; do sleep 0.02; done
# Other lines have addresses and ids, and warnings of threads that end.
gdb --batch -nx -p $! -x attach.gdb >session 2>&1 || true
sed -n 's/^RESULT //p; s/^#0.* \(main\) .*/in \1/p' session
if ! grep -q 'RESULT zero' session; then
    tail -n 5 session
    kill $!
fi
wait $!
cat answers
