# Arrays of arrays, sorting with a function, regular expressions with captures, co-processes.
function by_value(i1, v1, i2, v2) { return v1 != v2 ? v1 - v2 : (i1 < i2 ? -1 : i1 > i2) }
BEGIN {
    for (i = 0; i < 50000; i++) table[i % 97][i] = i * 7919 % 50021
    for (key in table) {
        n = asorti(table[key], order, "by_value")
        sum += table[key][order[1]] * n
    }
    print sum
    PROCINFO["sorted_in"] = "@ind_num_asc"
    for (key in table) if (key < 5) print key, length(table[key])
    for (i = 0; i < 20000; i++)
        if (match("key" i "=value" i * 3 ";", /key([0-9]+)=value([0-9]+);/, part))
            check += part[2] - 3 * part[1] + 1
    print check
    print strftime("%Y-%m-%d", 0, 1), gensub(/(a)(b)/, "\\2\\1", "g", "abcab")
    for (i = 0; i < 2000; i++) print i * 7919 % 2003 |& "sort -n"
    close("sort -n", "to")
    while (("sort -n" |& getline line) > 0) last = last + line * ++lines % 11
    print lines, last
}
