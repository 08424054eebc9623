/** The files of a new project: small, without data to fetch, and green at the first run. */
export const projectTemplate = (name: string, namespace: string): ReadonlyArray<{ path: string; content: string }> => [
  {
    path: "rat.yaml",
    content: `# A RAT project: this file and the folder pipelines/. \`rat push\` brings both to a server.
name: ${name}
namespace: ${namespace}
`,
  },
  {
    path: ".gitignore",
    content: `# What \`rat up\` and \`rat dev\` keep on this machine.
.rat/
`,
  },
  {
    path: "README.md",
    content: `# ${name}

A RAT project. Each folder \`pipelines/<layer>/<name>/\` makes one table.

\`\`\`
rat dev                                        # start a server here, run everything, run again on every save
rat query "select * from gold.daily_revenue"   # in another terminal
\`\`\`

Against a server that runs already: \`rat push\`, then \`rat run --all\`.
`,
  },
  {
    path: "pipelines/bronze/orders/pipeline.sql",
    content: `-- @description: Orders as they came in.
{# With files of your own (rat upload --zone orders orders.csv) this becomes:
   select * from read_csv('{{ landing_zone("orders") }}') #}
select *
from (
  values
    (1, '2026-01-05', 'espresso', 2, 2.80),
    (2, '2026-01-05', 'flat white', 1, 3.90),
    (3, '2026-01-06', 'espresso', 1, 2.80),
    (4, '2026-01-06', 'cake', 3, 4.20),
    (5, '2026-01-07', 'flat white', 2, 3.90)
) as orders (order_id, ordered_on, product, quantity, unit_price)
`,
  },
  {
    path: "pipelines/silver/orders/pipeline.sql",
    content: `-- @description: One row per order: typed, with its amount.
select
  order_id,
  cast(ordered_on as date) as ordered_on,
  product,
  quantity,
  cast(unit_price as decimal(10, 2)) as unit_price,
  cast(quantity * unit_price as decimal(12, 2)) as amount
from {{ ref('bronze.orders') }}
`,
  },
  {
    path: "pipelines/silver/orders/tests/quality/order_id_is_unique.sql",
    content: `-- @severity: error
-- @description: Every order appears once. A test finds the rows that break its rule: none means that it passed.
-- @remediation: Look for an order that was delivered twice in bronze.orders.
select order_id, count(*) as rows_found
from {{ this }}
group by order_id
having count(*) > 1
`,
  },
  {
    path: "pipelines/gold/daily_revenue/config.yaml",
    content: `description: Revenue of each day.
merge_strategy: full_refresh
`,
  },
  {
    path: "pipelines/gold/daily_revenue/pipeline.sql",
    content: `select
  ordered_on as day,
  cast(count(*) as integer) as orders,
  cast(sum(amount) as decimal(14, 2)) as revenue
from {{ ref('silver.orders') }}
group by day
order by day
`,
  },
]
