"""A client of the Iceberg REST endpoint that shares no code with ours.

usage: pyiceberg_rest.py <server url> <warehouse> <scenario> [<argument>]

Every scenario prints one JSON object of what PyIceberg saw.
"""

import json
import sys

import pyarrow as pa
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    ForbiddenError,
    NamespaceAlreadyExistsError,
    NamespaceNotEmptyError,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationException,
)
from pyiceberg.types import IntegerType, LongType, StringType

url, warehouse, scenario = sys.argv[1:4]
silver = ("default", "silver")


def catalog(**properties):
    properties.setdefault("token", "token") if "credential" not in properties else None
    return RestCatalog("rat", uri=f"{url}/iceberg", warehouse=warehouse, **properties)


def rows(first, last, **more):
    ids = list(range(first, last))
    columns = {"id": pa.array(ids, pa.int64()), "name": pa.array([f"n{i % 3}" for i in ids], pa.string())}
    return pa.table({**columns, **{name: pa.array([value] * len(ids), pa.int32()) for name, value in more.items()}})


def seen(table):
    return sorted((row for row in table.scan().to_arrow().to_pylist()), key=lambda row: row["id"])


def refused(kind, act):
    try:
        act()
    except kind:
        return True
    return False


def writes():
    """Every kind of write that PyIceberg has, one after the other on one table."""
    rest = catalog()
    name = (*silver, "py_writes")
    table = rest.create_table(name, schema=rows(0, 0).schema, properties={"owner": "python"})
    found = {"properties": table.properties}
    table.append(rows(0, 10))
    table.append(rows(10, 20))
    table.overwrite(rows(100, 110))
    table.delete("id >= 108")
    table.upsert(rows(105, 112), join_cols=["id"])
    with table.update_schema() as schema:
        schema.add_column("extra", IntegerType())
    with table.update_schema() as schema:
        schema.rename_column("name", "label")
        schema.add_column("late", StringType(), doc="added last")
    with table.update_spec() as spec:
        spec.add_identity("label")
    with table.update_sort_order() as order:
        order.asc("id", __import__("pyiceberg.transforms", fromlist=["IdentityTransform"]).IdentityTransform())
    more = rows(200, 203, extra=7).rename_columns(["id", "label", "extra"])
    table.append(more.append_column("late", pa.nulls(3, pa.string())))
    with table.transaction() as transaction:
        transaction.set_properties({"team": "x"})
        transaction.remove_properties("owner")
    loaded = rest.load_table(name)
    return {
        **found,
        "rows": seen(loaded),
        "after": loaded.properties,
        "spec": [field.name for field in loaded.spec().fields],
        "schemas": len(loaded.metadata.schemas),
        "snapshots": [snapshot.summary.operation.value for snapshot in loaded.metadata.snapshots],
        "at_first": len(loaded.scan(snapshot_id=loaded.metadata.snapshots[0].snapshot_id).to_arrow()),
    }


def conflicts():
    """Two clients with the same view of a table."""
    rest = catalog()
    name = (*silver, "py_conflicts")
    rest.create_table(name, schema=rows(0, 0).schema).append(rows(0, 1))
    first, second, third = (rest.load_table(name) for _ in range(3))
    first.append(rows(1, 2))
    second.append(rows(2, 3))
    kinds = (CommitFailedException, ValidationException)
    return {
        "overwrite_refused": refused(kinds, lambda: third.overwrite(rows(9, 10))),
        "rows": [row["id"] for row in seen(rest.load_table(name))],
    }


def objects():
    """Namespaces and names."""
    rest = catalog()
    rest.create_namespace(("py",), {"comment": "of python"})
    table = rest.create_table(("py", "gold", "a"), schema=rows(0, 0).schema)
    table.append(rows(0, 3))
    answers = {
        "namespaces": sorted(rest.list_namespaces()),
        "layers": rest.list_namespaces(("py",)),
        "properties": rest.load_namespace_properties(("py",)),
        "again": refused(NamespaceAlreadyExistsError, lambda: rest.create_namespace(("py",))),
        "taken": refused(TableAlreadyExistsError, lambda: rest.create_table(("py", "gold", "a"), schema=rows(0, 0).schema)),
        "not_empty": refused(NamespaceNotEmptyError, lambda: rest.drop_namespace(("py",))),
    }
    rest.rename_table(("py", "gold", "a"), ("py", "silver", "b"))
    answers["renamed"] = [rest.list_tables(("py", "gold")), rest.list_tables(("py", "silver"))]
    answers["kept"] = len(rest.load_table(("py", "silver", "b")).scan().to_arrow())
    location = rest.load_table(("py", "silver", "b")).metadata_location
    rest.purge_table(("py", "silver", "b"))
    answers["gone"] = refused(NoSuchTableError, lambda: rest.load_table(("py", "silver", "b")))
    answers["registered"] = len(rest.register_table(("py", "silver", "c"), location).scan().to_arrow())
    with rest.create_table_transaction(("py", "gold", "ctas"), schema=rows(0, 0).schema) as transaction:
        with transaction.update_snapshot().fast_append():
            pass
    answers["ctas"] = rest.table_exists(("py", "gold", "ctas"))
    rest.drop_table(("py", "silver", "c"))
    rest.drop_table(("py", "gold", "ctas"))
    rest.drop_namespace(("py",))
    answers["end"] = sorted(rest.list_namespaces())
    return answers


def branch_write():
    """On a branch: what is written there."""
    table = catalog().load_table((*silver, "py_writes"))
    table.append(pa.table({"id": pa.array([1000], pa.int64()), "label": ["branch"], "extra": pa.array([1], pa.int32()), "late": ["x"]}))
    return {"count": len(table.scan().to_arrow())}


def read():
    table = catalog().load_table((*silver, sys.argv[4]))
    return {"rows": seen(table)}


def tag_write():
    table = catalog().load_table((*silver, "py_writes"))
    return {"refused": refused(ForbiddenError, lambda: table.append(rows(0, 1).rename_columns(["id", "label"])))}


def planned():
    """The server plans, the client reads what it was told."""
    rest = catalog(**{"scan-planning-mode": "server"})
    table = rest.load_table((*silver, "py_writes"))
    local = catalog().load_table((*silver, "py_writes"))
    answers = {}
    for name, where in {"all": None, "some": "id >= 200", "none": "id < 0", "label": "label = 'n1' and id < 110"}.items():
        server = table.scan(row_filter=where) if where else table.scan()
        client = local.scan(row_filter=where) if where else local.scan()
        answers[name] = {
            "files": len(list(server.plan_files())),
            "client_files": len(list(client.plan_files())),
            "same": sorted(map(str, server.to_arrow().to_pylist())) == sorted(map(str, client.to_arrow().to_pylist())),
        }
    return answers


def authorised():
    rest = catalog(credential="client:secret")
    return {"namespaces": rest.list_namespaces()}


print(json.dumps(globals()[scenario]()))
