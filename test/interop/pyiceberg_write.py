"""Makes an Iceberg table with PyIceberg, for reading it with ours.

usage: pyiceberg_write.py <folder>

Two appends with a schema change between them (a column renamed, one widened, one added), partitioned by a column, then a
delete that PyIceberg does by rewriting a file. Prints the location of the metadata file.
"""

import sys

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DecimalType, IntegerType, LongType, NestedField, StringType, StructType


def main() -> None:
    folder = sys.argv[1]
    catalog = SqlCatalog("test", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
    catalog.create_namespace("ns")
    schema = Schema(
        NestedField(1, "id", IntegerType(), required=False),
        NestedField(2, "name", StringType(), required=False),
        NestedField(3, "price", DecimalType(9, 2), required=False),
        NestedField(6, "kind", StringType(), required=False),
        NestedField(4, "place", StructType(NestedField(5, "city", StringType(), required=False)), required=False),
    )
    spec = PartitionSpec(PartitionField(source_id=6, field_id=1000, transform=IdentityTransform(), name="kind"))
    table = catalog.create_table("ns.t", schema, partition_spec=spec, properties={"format-version": "2"})
    rows = [
        {"id": n, "name": f"n{n}", "kind": "odd" if n % 2 else "even", "place": {"city": "Bonn"} if n % 2 else None}
        for n in range(4)
    ]
    table.append(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()))
    with table.update_schema() as update:
        update.rename_column("name", "label")
        update.update_column("id", LongType())
        update.add_column("extra", LongType())
    rows = [{"id": 2**40, "label": "late", "kind": "odd", "extra": 7}]
    table.append(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()))
    table.delete("id = 1")
    print(table.metadata_location)


main()
