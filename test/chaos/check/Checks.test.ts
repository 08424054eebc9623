import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { RatClient } from "@rat/client"
import { checkCluster, untilRest } from "../Chaos.ts"
import { pushWorkload, startClients } from "../Clients.ts"
import { startCluster } from "../Cluster.ts"
import { makeDice } from "../Dice.ts"
import { openLedger } from "../Ledger.ts"
import { checkLeftovers } from "./Leftovers.ts"

/** Each breaks something by hand, as a fault of the system might, and is found by what the complaint says. */
const sabotage: ReadonlyArray<{ readonly sql: string; readonly found: RegExp }> = [
  {
    sql: `delete from event where "offset" = (select max("offset") - 3 from event)`,
    found: /the event log has gaps/,
  },
  {
    sql: `delete from event where type = 'run.running' and key in (select id::text from run where status = 'succeeded' order by id limit 1)`,
    found: /runs whose events are wrong/,
  },
  {
    sql: `
      insert into catalog_commit (id, xid, ref_id, message, author, run_id, committed_at, tables)
      select nextval('catalog_commit_id'), xid, ref_id, message, author, run_id, now(), tables
      from catalog_commit where ref_id = 0 and run_id is not null order by id limit 1`,
    found: /successful runs do not have exactly one commit on main/,
  },
  {
    sql: `update run set status = 'failed' where id = (select max(id::text)::uuid from run where status = 'succeeded' and pipeline like 'append%')`,
    found: /holds rows of run .*, which did not succeed/,
  },
  {
    sql: `update run_attempt set ended_at = null where run_id = (select min(run_id::text)::uuid from run_attempt)`,
    found: /attempts are open/,
  },
  {
    sql: `insert into catalog_ref (name, kind, base_limit, base_xid, base_snapshot) values ('run-nobody', 'branch', 0, '0', pg_current_snapshot())`,
    found: /branches belong to no failed or cancelled run/,
  },
  {
    // As a commit that was made upon an old version and lost another one.
    sql: `
      update catalog_table t set metadata_location = v.metadata_location
      from (
        select distinct on (namespace, name) namespace, name, metadata_location from catalog_version
        where name like 'counter%' order by namespace, name, commit_id
      ) v
      where v.namespace = t.namespace and v.name = t.name and v.metadata_location <> t.metadata_location`,
    found: /table \S+counter_\d (key \d counts|has \d rows instead)/,
  },
]

describe("the checker of the chaos suite", () => {
  it("finds nothing in a cluster that is well, and everything that is broken by hand", {
    timeout: 240_000,
  }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "rat-chaos-checks-"))
    const cluster = await startCluster({
      folder,
      roles: [["api", "control", "runner", "query"]],
      store: "folder",
    })
    try {
      const ledger = openLedger(cluster.logs)
      const nodes = cluster.withRole("api")
      await pushWorkload(new RatClient({ apiUrl: nodes[0]!.url }), ledger)
      await startClients({ nodes, ledger, dice: makeDice(1), count: 4, pauseMs: 0, runs: 60 }).leaveWhenDone()
      await untilRest(cluster)
      assert.deepStrictEqual(await checkCluster(cluster, ledger), [])

      const missed: Array<string> = []
      for (const { sql, found } of sabotage) {
        await cluster.database.rows(sql)
        const complaints = await checkCluster(cluster, ledger)
        if (!complaints.some((complaint) => found.test(complaint))) missed.push(`${found}: ${complaints.join("\n")}`)
      }
      const [table] = await cluster.database.rows<{ readonly metadata_location: string }>(
        "select metadata_location from catalog_table where name = 'append_0'",
      )
      const bytes = await cluster.store.read(table!.metadata_location)
      const metadata = JSON.parse(bytes!.toString())
      rmSync(fileURLToPath(metadata.snapshots.at(-1)["manifest-list"]))
      ledger.accept(
        "lost",
        { run: "01900000-0000-7000-8000-000000000000", pipeline: "default.append_0", uploads: [] },
        "",
      )
      const complaints = await checkCluster(cluster, ledger)
      for (const found of [/table default.append_0 cannot be read/, /was accepted and is not there/]) {
        if (!complaints.some((complaint) => found.test(complaint))) missed.push(`${found}: ${complaints.join("\n")}`)
      }
      assert.deepStrictEqual(missed, [])

      assert.deepStrictEqual(await cluster.drain(), [])
      assert.deepStrictEqual(checkLeftovers(cluster), [])
      writeFileSync(join(folder, "n1", "tmp", "left"), "")
      assert.match(checkLeftovers(cluster).join(), /left a temporary file/)
    } finally {
      await cluster.close()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
