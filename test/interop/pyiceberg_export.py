"""Reads an Iceberg table with PyIceberg and writes its rows to a Parquet file.

usage: pyiceberg_export.py <metadata location> <target.parquet>
"""

import sys

import pyarrow.parquet
from pyiceberg.table import StaticTable

pyarrow.parquet.write_table(StaticTable.from_metadata(sys.argv[1]).scan().to_arrow(), sys.argv[2])
