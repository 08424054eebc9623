"""An engine of somebody else as a server of lines: each line in is a JSON request, each line out its JSON answer.

usage: engine.py <duckdb|spark|pyiceberg> <address of the Iceberg REST endpoint> [<jar of Spark's Iceberg runtime>]

Answers are {"ok": ...} or {"error": "..."}. Rows come as lists of texts in one spelling for all engines (times in UTC, without
zone), sorted, so that equal tables have equal answers.
"""

import json
import math
import os
import sys
import time
from datetime import datetime, timezone
from decimal import Decimal

os.environ["TZ"] = "UTC"
time.tzset()


def text(value):
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "nan" if math.isnan(value) else repr(value)
    if isinstance(value, Decimal):
        # Spark has zeros to spare behind the point.
        whole = format(value, "f")
        return whole.rstrip("0").rstrip(".") if "." in whole else whole
    if isinstance(value, datetime):
        naive = value.astimezone(timezone.utc).replace(tzinfo=None) if value.tzinfo else value
        return naive.isoformat(timespec="microseconds")
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if hasattr(value, "asDict"):
        return text(value.asDict())
    if isinstance(value, dict) and value:
        return {str(text(key)): text(item) for key, item in value.items()}
    # A map of PyArrow; rows of Spark are tuples too.
    if isinstance(value, list) and value and all(type(item) is tuple for item in value):
        return text(dict(value))
    # An empty map is an empty list to some.
    if isinstance(value, (list, tuple, dict)):
        return [text(item) for item in value]
    return str(value)


def sorted_rows(rows):
    return sorted(([text(value) for value in row] for row in rows), key=lambda row: json.dumps(row, sort_keys=True))


def selection(columns, table, where):
    return f'select {", ".join(columns)} from {table}{f" where {where}" if where else ""}'


class DuckDb:
    """Also where the plain SQL model of a table is kept."""

    def __init__(self, url, _):
        import duckdb
        import duckdb_extension_avro
        import duckdb_extension_httpfs
        import duckdb_extension_iceberg

        self.url = url
        self.duckdb = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        for package in (duckdb_extension_httpfs, duckdb_extension_avro, duckdb_extension_iceberg):
            name = package.__name__.removeprefix("duckdb_extension_")
            folder = os.path.join(os.path.dirname(package.__file__), "extensions")
            (version,) = os.listdir(folder)
            self.duckdb.execute(f"load '{folder}/{version}/{name}.duckdb_extension'")
        self.duckdb.execute("set timezone = 'UTC'")

    def attach(self, name, warehouse):
        self.duckdb.execute(
            f"attach '{warehouse}' as {name} (type iceberg, endpoint '{self.url}', authorization_type 'none')"
        )

    def sql(self, sql):
        result = self.duckdb.execute(sql)
        return sorted_rows(result.fetchall()) if result.description else []

    def read(self, name, namespace, table, columns, where=None):
        return self.sql(selection(columns, f'{name}."{".".join(namespace)}".{table}', where))


class Spark:
    def __init__(self, url, jar):
        from pyspark.sql import SparkSession

        self.url = url
        extensions = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
        self.spark = (
            SparkSession.builder.master("local[2]")
            .config("spark.driver.extraClassPath", jar)
            .config("spark.driver.memory", "1g")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.extensions", extensions)
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.sql.ansi.enabled", "true")
            .getOrCreate()
        )
        self.spark.sparkContext.setLogLevel("OFF")

    def attach(self, name, warehouse):
        catalog = f"spark.sql.catalog.{name}"
        settings = {"type": "rest", "uri": self.url, "warehouse": warehouse, "cache-enabled": "false"}
        self.spark.conf.set(catalog, "org.apache.iceberg.spark.SparkCatalog")
        for key, value in settings.items():
            self.spark.conf.set(f"{catalog}.{key}", value)

    def sql(self, sql):
        return sorted_rows(self.spark.sql(sql).collect())

    def read(self, name, namespace, table, columns, where=None):
        return self.sql(selection(columns, self.named(name, namespace, table), where))

    def named(self, name, namespace, table):
        return f'{name}.{".".join(f"`{part}`" for part in namespace)}.{table}'

    def equality_delete(self, name, namespace, table, columns, rows):
        """Deletes rows by values of columns; Spark has no statement for it, so it goes through Iceberg's own library."""
        jvm = self.spark._jvm
        iceberg = jvm.org.apache.iceberg
        session = self.spark._jsparkSession
        loaded = iceberg.spark.Spark3Util.loadIcebergTable(session, self.named(name, namespace, table))
        schema, spec = loaded.schema(), loaded.spec()
        gateway = self.spark.sparkContext._gateway
        names = gateway.new_array(jvm.java.lang.String, len(columns))
        ids = gateway.new_array(gateway.jvm.int, len(columns))
        for index, column in enumerate(columns):
            names[index] = column
            ids[index] = schema.findField(column).fieldId()
        keys = schema.select(names)
        factory = iceberg.data.GenericAppenderFactory(schema, spec, ids, keys, None)
        outputs = (
            iceberg.io.OutputFileFactory.builderFor(loaded, 1, int(time.time() * 1000))
            .format(iceberg.FileFormat.PARQUET)
            .build()
        )
        delta = loaded.newRowDelta()
        groups = {}
        for row in rows:
            record = iceberg.data.GenericRecord.create(schema)
            for column, value in zip(columns, row):
                record.setField(column, value)
            partition = None
            if not spec.isUnpartitioned():
                partition = iceberg.PartitionKey(spec, schema)
                partition.partition(iceberg.data.InternalRecordWrapper(schema.asStruct()).wrap(record))
            key = partition.toPath() if partition is not None else ""
            groups.setdefault(key, (partition, []))[1].append(row)
        for partition, members in groups.values():
            output = outputs.newOutputFile() if partition is None else outputs.newOutputFile(spec, partition)
            writer = factory.newEqDeleteWriter(output, iceberg.FileFormat.PARQUET, partition)
            for row in members:
                record = iceberg.data.GenericRecord.create(keys)
                for column, value in zip(columns, row):
                    record.setField(column, value)
                writer.write(record)
            writer.close()
            delta = delta.addDeletes(writer.toDeleteFile())
        delta.commit()


class PyIceberg:
    def __init__(self, url, _):
        self.url = url
        self.catalogs = {}

    def attach(self, name, warehouse):
        from pyiceberg.catalog.rest import RestCatalog

        self.catalogs[name] = RestCatalog(name, uri=self.url, warehouse=warehouse)

    def read(self, name, namespace, table, columns, where=None):
        loaded = self.catalogs[name].load_table((*namespace, table))
        filters = {} if where is None else {"row_filter": where}
        arrow = loaded.scan(selected_fields=tuple(columns), **filters).to_arrow().select(columns)
        return sorted_rows(zip(*(column.to_pylist() for column in arrow.columns))) if columns else []


kind, url = sys.argv[1:3]
engine = {"duckdb": DuckDb, "spark": Spark, "pyiceberg": PyIceberg}[kind](url, sys.argv[3] if len(sys.argv) > 3 else None)
print(json.dumps({"ok": kind}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = {"ok": getattr(engine, request.pop("op"))(**request)}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"[:4000]}
    print(json.dumps(answer), flush=True)
