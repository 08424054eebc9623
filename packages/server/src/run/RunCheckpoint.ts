import { inputsOfCheckpoint, type RunId, type RunRepeat } from "@rat/domain"
import { Effect, type Schema } from "effect"
import { SqlClient } from "effect/sql"

/**
 * Rows of table `run_checkpoint`: how far a run has come, as JSON that only runners understand. Written with the report that brings
 * one, so that nothing is written for runs that need none; deleted with the success of its run, and for others with their branch.
 * Most of this are parts of the statements that guard it.
 */

/** Characters of a checkpoint as JSON. One that is longer is not stored, and the one before it holds. */
export const maxCheckpoint = 4_194_304

/** What the runs to be made begin with: all that the run they go on with had done, or only its inputs where they repeat it. */
export const makeTakeOver = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  return Effect.fnUntraced(function* (
    items: ReadonlyArray<{ readonly id: RunId; readonly repeat?: RunRepeat | null | undefined }>,
  ) {
    const repeats = items.flatMap(({ id, repeat }) => (repeat == null ? [] : [{ id, ...repeat }]))
    if (repeats.length === 0) return new Map<RunId, Schema.Json>()
    const rows = yield* sql<{ readonly run_id: RunId; readonly checkpoint: Schema.Json }>`
      select run_id, checkpoint
      from run_checkpoint
      where ${sql.in(
        "run_id",
        repeats.map(({ of }) => of),
      )}`
    const found = new Map(rows.map((row) => [row.run_id, row.checkpoint]))
    return new Map(
      repeats.flatMap(({ id, of, resume }): ReadonlyArray<readonly [RunId, Schema.Json]> => {
        const checkpoint = found.get(of)
        if (checkpoint === undefined) return []
        const taken = resume ? checkpoint : inputsOfCheckpoint(checkpoint)
        return taken === null ? [] : [[id, taken]]
      }),
    )
  })
})

/** Gives the runs of CTE `inserted` the checkpoints of CTE `input`. */
export const takeOverCheckpoints = (sql: SqlClient.SqlClient) =>
  sql.literal(`
    insert into run_checkpoint (run_id, attempt, checkpoint)
    select e.id, 0, i.checkpoint
    from inserted e
    join input i on i.id = e.id
    where i.checkpoint is not null`)

/** Keeps what attempts report; `rows` is their JSON, with ord to tell the newest of a run, and CTE `held` knows who may. */
export const storeCheckpoints = (sql: SqlClient.SqlClient, rows: string) => sql`
  insert into run_checkpoint (run_id, attempt, checkpoint)
  select distinct on (h.id) h.id, h.attempt, k.checkpoint
  from jsonb_to_recordset(${rows}::jsonb) as k (run_id uuid, token bigint, ord integer, checkpoint jsonb)
  join held h on h.id = k.run_id and h.fencing_token = k.token
  order by h.id, k.ord desc
  on conflict (run_id) do update
  set attempt = excluded.attempt, checkpoint = excluded.checkpoint, updated_at = now()`

/** Of the runs of CTE `ended` that succeeded nothing can be resumed. */
export const dropCheckpoints = (sql: SqlClient.SqlClient) =>
  sql.literal(`
    delete from run_checkpoint k
    using ended e
    where k.run_id = e.id and e.status = 'succeeded'`)
