-- What pgbench must leave behind, then sorts, hashes, JSON, regular expressions, a function.
SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
    (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(delta) FROM pgbench_history),
    (SELECT count(*) FROM pgbench_history);
CREATE TABLE words AS
    SELECT n, md5(n::text) AS word, repeat(chr(97 + n % 26), n % 700) AS body
    FROM generate_series(1, 30000) AS n;
CREATE INDEX ON words (word);
CREATE INDEX ON words USING gin (to_tsvector('simple', word || ' ' || left(body, 10)));
ANALYZE words;
SELECT left(word, 2) AS head, count(*), max(length(body)), md5(string_agg(body, ',' ORDER BY n))
    FROM words GROUP BY head ORDER BY head LIMIT 5;
SELECT count(*), sum(a.n) FROM words a JOIN words b ON a.word = md5(b.n::text) WHERE b.n % 3 = 0;
SELECT md5(jsonb_object_agg(word, jsonb_build_array(n, body) ORDER BY n)::text)
    FROM words WHERE n < 3000;
SELECT count(*) FROM words WHERE word ~ '(ab|cd)+[0-9]{2}' AND body LIKE '%zzz%';
CREATE FUNCTION collatz(n bigint) RETURNS int LANGUAGE plpgsql AS $$
DECLARE steps int := 0;
BEGIN
    WHILE n <> 1 LOOP
        n := CASE WHEN n % 2 = 0 THEN n / 2 ELSE 3 * n + 1 END;
        steps := steps + 1;
    END LOOP;
    RETURN steps;
END $$;
SELECT max(collatz(n)), sum(collatz(n)) FROM generate_series(1, 2000) AS n;
WITH RECURSIVE tree(n, path) AS (
    SELECT 1, '1' UNION ALL SELECT 2 * n + b, path || '/' || (2 * n + b)
    FROM tree, (VALUES (0), (1)) AS bits(b) WHERE n < 4096)
SELECT count(*), md5(string_agg(path, ' ' ORDER BY n)) FROM tree;
VACUUM FULL words;
