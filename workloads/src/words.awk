# Builds text, splits it, counts words, deletes half of them, prints what is left.
BEGIN {
    if (!rows) rows = 4000
    state = 42
    for (row = 1; row <= rows; row++) {
        line = ""
        for (column = 0; column < 25; column++) {
            state = (state * 16807) % 2147483647
            line = line " w" state % 30011 "x"
        }
        gsub(/7/, "<seven>", line)
        words = split(line, part, " ")
        for (i = 1; i <= words; i++) count[part[i]]++
        long = substr(long line, 1, 20000)
    }
    for (word in count) if (match(word, /[13579]x$/)) delete count[word]
    for (word in count) { total += count[word]; kinds++ }
    for (word in count) if (count[word] > 1) print count[word], toupper(word)
    print total, kinds, length(long), sprintf("%s|%10d|%-8s|", substr(long, 5, 20), total, "end")
    "echo from a pipe" | getline answer
    print 0, answer
}
