-- 10^5 rows, an index, deletions and a vacuum; every number follows from the row's own.
PRAGMA journal_mode = MEMORY;
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL, amount INTEGER, note BLOB);
BEGIN;
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 100000)
INSERT INTO item SELECT n, printf('item-%08d', (n * 7919) % 1000003), n % 1013, zeroblob(n % 200)
FROM number;
COMMIT;
CREATE INDEX item_name ON item (name);
CREATE INDEX item_amount ON item (amount, id);
SELECT count(*), sum(amount), min(name), max(name), sum(length(note)) FROM item;
SELECT amount, count(*), group_concat(name, ',') FROM item WHERE amount < 4 GROUP BY amount;
DELETE FROM item WHERE id % 3 = 0;
VACUUM;
PRAGMA integrity_check;
SELECT count(*), sum(id), max(name) FROM item;
