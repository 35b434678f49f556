"""Arrays, frames, columnar files and SQL over the same data, with threads; exact results only."""

import hashlib
import warnings
from concurrent.futures import ThreadPoolExecutor

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

ROWS = 200_000


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def arrays(seed: int) -> str:
    random = np.random.default_rng(seed)
    numbers = random.integers(0, 1_000_000, ROWS)
    grid = numbers[:10_000].reshape(100, 100)
    product = grid.astype(np.int64) @ grid.T
    parts = np.array_split(np.sort(numbers), 37)
    text = np.array([f"w{n % 977}" for n in numbers[:20_000]])
    for size in range(1, 300):
        np.concatenate([parts[size % 37], numbers[: size * 100]])
    objects = np.array([{"n": int(n)} for n in numbers[:3000]], dtype=object)
    transform = np.fft.rfft(numbers[:4096]).round(3)
    return digest(
        int(product.sum()), int(parts[5][0]), len(np.unique(text)), len(objects), transform.shape
    )


def frame() -> pd.DataFrame:
    n = np.arange(ROWS)
    return pd.DataFrame(
        {
            "n": n,
            "key": (n * 7919) % 1009,
            "word": [f"word {i * 31 % 5003}" for i in range(ROWS)],
            "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(n % 90_000, unit="s"),
        }
    )


def frames(data: pd.DataFrame) -> str:
    groups = data.groupby("key").agg(total=("n", "sum"), words=("word", "nunique"))
    wide = data[data.key < 20].pivot_table(
        index="key", columns=data.when.dt.hour, values="n", aggfunc="sum", fill_value=0
    )
    joined = data.head(20_000).merge(groups, left_on="key", right_index=True)
    text = joined.head(2000).to_csv(index=False)
    again = data.sort_values(["word", "n"]).drop_duplicates("word")
    return digest(
        int(groups.total.sum()),
        int(groups.words.sum()),
        wide.shape,
        int(wide.sum().sum()),
        len(joined),
        hashlib.md5(text.encode()).hexdigest(),
        int(again.n.sum()),
    )


def arrow(data: pd.DataFrame) -> str:
    table = pa.Table.from_pandas(data, preserve_index=False)
    for codec in ("snappy", "zstd", "gzip"):
        pa.parquet.write_table(table, f"{codec}.parquet", compression=codec, row_group_size=30_000)
        assert pa.parquet.read_table(f"{codec}.parquet").equals(table)
    grouped = table.group_by("key").aggregate([("n", "sum"), ("word", "count_distinct")])
    encoded = table["word"].combine_chunks().dictionary_encode()
    filtered = table.filter(pa.compute.greater(table["n"], ROWS // 2)).sort_by("word")
    return digest(
        grouped.num_rows,
        pa.compute.sum(grouped["n_sum"]).as_py(),
        len(encoded.dictionary),
        filtered["n"][77].as_py(),
        filtered.num_rows,
    )


def sql(data: pd.DataFrame) -> str:
    database = duckdb.connect("words.db", config={"threads": 2, "memory_limit": "256MB"})
    database.execute("CREATE TABLE words AS SELECT * FROM data")
    rows = database.execute(
        "SELECT key, sum(n), count(DISTINCT word), max(word) FROM words GROUP BY key ORDER BY key"
    ).fetchall()
    joined = database.execute(
        "SELECT count(*), sum(a.n) FROM words a JOIN words b ON a.word = b.word AND b.n < 20000"
    ).fetchone()
    nested = database.execute(
        "SELECT md5(string_agg(x, ',')) FROM (SELECT word || list_sum(range(n % 50)) AS x"
        " FROM words WHERE n < 30000 ORDER BY n)"
    ).fetchone()
    ranked = database.execute(
        "SELECT sum(r) FROM (SELECT row_number() OVER (PARTITION BY key ORDER BY word, n) AS r"
        " FROM words)"
    ).fetchone()
    parquet = database.execute("SELECT count(*), sum(n) FROM 'zstd.parquet'").fetchone()
    back = database.execute("SELECT * FROM words WHERE key = 5").df()
    database.close()
    return digest(rows, joined, nested, ranked, parquet, len(back))


def main() -> None:
    warnings.simplefilter("ignore")
    with ThreadPoolExecutor(3) as pool:
        print("arrays", list(pool.map(arrays, range(6))))
    data = frame()
    with ThreadPoolExecutor(2) as pool:
        print("frames", list(pool.map(frames, [data, data.iloc[::2]])))
    print("arrow", arrow(data), pa.default_memory_pool().backend_name)
    print("sql", sql(data))


main()
