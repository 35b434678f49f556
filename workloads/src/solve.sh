# The puzzles, the same with checks of each model, and a run that meets its limit of memory.
set -u
z3 puzzles.smt2
z3 model_validate=true smt.random_seed=3 puzzles.smt2
z3 -memory:12 puzzles.smt2 | tail -n 1
echo "limited run ended with ${PIPESTATUS[0]}"
