"""Bulk insert of 10^5 rows, an index, queries and a vacuum through Python's sqlite3 module."""

import sqlite3


def main() -> None:
    connection = sqlite3.connect("bulk.db")
    connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, note BLOB)")
    rows = ((n, f"item-{n * 7919 % 1000003:08}", bytes(n % 150)) for n in range(100_000))
    with connection:
        connection.executemany("INSERT INTO item VALUES (?, ?, ?)", rows)
        connection.execute("CREATE INDEX item_name ON item (name)")
    connection.create_function("digits", 1, lambda text: sum(map(int, text[5:])))
    for query in (
        "SELECT count(*), min(name), max(name), sum(length(note)) FROM item",
        "SELECT digits(name) AS d, count(*) FROM item GROUP BY d ORDER BY d LIMIT 8",
        "SELECT id FROM item ORDER BY name DESC LIMIT 5",
    ):
        print(connection.execute(query).fetchall())
    everything = connection.execute("SELECT * FROM item").fetchall()
    print(len(everything), sum(len(row[2]) for row in everything))
    with connection:
        connection.execute("DELETE FROM item WHERE id % 3 = 0")
    connection.execute("VACUUM")
    print(connection.execute("PRAGMA integrity_check").fetchone())
    connection.close()


main()
