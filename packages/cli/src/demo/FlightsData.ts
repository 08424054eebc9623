import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

/** The example project of the repository: what the demo pushes and runs. */
export const flightsProject = fileURLToPath(new URL("../../../../examples/flights", import.meta.url))

const dataFolder = () => join(dirname(fileURLToPath(import.meta.resolve("vega-datasets"))), "..", "data")

/** Real data from the npm package vega-datasets (BSD-3-Clause): landing zone → file. */
export const flightsFiles = (): ReadonlyArray<{ readonly zone: string; readonly path: string }> => [
  { zone: "airports", path: join(dataFolder(), "airports.csv") },
  { zone: "flights", path: join(dataFolder(), "flights-3m.parquet") },
]

/** The gold tables that the demo shows, with the SQL that a person could have typed. */
export const flightsQueries = [
  {
    title: "The worst hours to fly from a large airport",
    sql: `select airport, city, hour, flights, mean_delay_minutes, late_share
from gold.delays_by_airport_and_hour
where flights >= 1000
order by late_share desc
limit 5`,
  },
  {
    title: "The worst routes of the worst month",
    sql: `select month, place, origin, origin_city, destination, destination_city, flights, late_share
from gold.worst_routes_by_month
where month = '2001-02-01'
order by place
limit 5`,
  },
] as const
