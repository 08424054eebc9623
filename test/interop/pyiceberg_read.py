"""Reads an Iceberg table with PyIceberg, a reader that shares no code with ours.

usage: pyiceberg_read.py <metadata location> [<row filter>]

Prints one JSON object: the schema, the rows as objects (what JSON cannot hold as text), the bounds of every column of
every live file as PyIceberg decodes them, the number of files that its planner keeps, and the snapshots' summaries.
"""

import json
import sys

from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.table import StaticTable


def text(value):
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: text(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [text(item) for item in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)


def bounds(table, values):
    found = {}
    for field_id, value in (values or {}).items():
        field = table.schema().find_field(field_id)
        found[table.schema().find_column_name(field_id)] = text(from_bytes(field.field_type, value))
    return found


def main() -> None:
    table = StaticTable.from_metadata(sys.argv[1])
    scan = table.scan(row_filter=sys.argv[2]) if len(sys.argv) > 2 else table.scan()
    entries = [
        entry
        for manifest in table.current_snapshot().manifests(table.io)
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False)
    ]
    live = [entry for entry in entries if entry.status != ManifestEntryStatus.DELETED]
    print(
        json.dumps(
            {
                "schema": [
                    {"id": field.field_id, "name": field.name, "type": str(field.field_type)}
                    for field in table.schema().fields
                ],
                "rows": [text(row) for row in scan.to_arrow().to_pylist()],
                "planned_files": len(list(scan.plan_files())),
                "files": [
                    {
                        "records": entry.data_file.record_count,
                        "sequence_number": entry.sequence_number,
                        "lower": bounds(table, entry.data_file.lower_bounds),
                        "upper": bounds(table, entry.data_file.upper_bounds),
                    }
                    for entry in live
                ],
                "deleted_files": len(entries) - len(live),
                "snapshots": [
                    {"operation": snapshot.summary.operation.value, **snapshot.summary.additional_properties}
                    for snapshot in table.metadata.snapshots
                ],
            }
        )
    )


main()
