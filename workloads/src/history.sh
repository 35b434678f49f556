# A repository with forty commits, a merge, a garbage collection and a clone.
set -eu
git init -q -b main story
cd story
git config gc.auto 0
git config pack.threads 2
for ((i = 0; i < 40; i++)); do
    export GIT_AUTHOR_DATE="2026-01-01T00:00:00Z" GIT_COMMITTER_DATE="2026-01-01T00:00:00Z"
    for ((j = 0; j < 200; j++)); do
        echo "chapter $i line $j $((i * j % 97))"
    done >"chapter$((i % 7)).txt"
    git add .
    git commit -q -m "chapter $i"
done
git checkout -q -b other HEAD~5
echo aside >aside.txt
git add . && git commit -q -m "aside"
git checkout -q main
git merge -q --no-ff -m "merge" other
git log --oneline --stat | tail -n 30
git gc -q --aggressive --prune=now
git fsck --full --strict
git rev-parse HEAD
git clone -q --no-local . ../copy
git -C ../copy log --format=%H | sha256sum
git blame chapter3.txt | tail -n 3
git diff HEAD~7 --stat
