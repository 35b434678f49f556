# Runs each test script in a bash of its own, with standard error on standard output.
set -u
for script in shell_arrays shell_subshells shell_traps shell_loop; do
    echo "== $script"
    bash "$script.sh" 2>&1
    echo "== status $?"
done
