"""The same upsert in deltalake or PyIceberg: merge_others.py WHICH BASE CHANGES FOLDER ROUNDS; prints one time in ms a line."""

import shutil
import sys
import time

import pyarrow.parquet as pq

which, base_path, changes_path, folder, rounds = sys.argv[1:6]
base = pq.read_table(base_path)
changes = pq.read_table(changes_path)


def timed(action):
    started = time.perf_counter()
    action()
    print((time.perf_counter() - started) * 1000, flush=True)


if which == "deltalake":
    from deltalake import DeltaTable, write_deltalake

    for _ in range(int(rounds)):
        shutil.rmtree(folder, ignore_errors=True)
        write_deltalake(folder, base)
        table = DeltaTable(folder)
        timed(
            lambda: table.merge(
                source=changes, predicate="t.id = s.id", source_alias="s", target_alias="t"
            )
            .when_matched_update_all()
            .when_not_matched_insert_all()
            .execute()
        )
else:
    import os

    from pyiceberg.catalog.sql import SqlCatalog

    os.makedirs(folder, exist_ok=True)
    catalog = SqlCatalog("bench", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
    catalog.create_namespace("n")
    for index in range(int(rounds)):
        table = catalog.create_table(f"n.t{index}", schema=base.schema)
        table.append(base)
        timed(lambda: table.upsert(changes, join_cols=["id"]))
