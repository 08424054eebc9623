import type { Database } from "../Database.ts"

/** Letter of each event in the life of a run. */
const letters: Readonly<Record<string, string>> = {
  "run.queued": "q",
  "run.running": "r",
  "run.succeeded": "S",
  "run.failed": "F",
  "run.cancelled": "C",
}

/** Queued, then any number of attempts that end in the queue again, then the end: of an attempt, or in the queue. */
const lives: Readonly<Record<string, RegExp>> = {
  succeeded: /^q(rq)*rS$/,
  failed: /^q(rq)*r?F$/,
  cancelled: /^q(rq)*r?C$/,
}

const few = 5

/** The events of every run in the order of the log: complete, in order, and as many attempts as there were. */
export const checkEvents = async (database: Database): Promise<ReadonlyArray<string>> => {
  const rows = await database.rows<{
    readonly id: string
    readonly status: string
    readonly attempt: number
    readonly types: ReadonlyArray<string> | null
  }>(`
    select r.id, r.status, r.attempt, array_agg(e.type order by e."offset") filter (where e.type is not null) as types
    from run r left join event e on e.key = r.id::text and e.type like 'run.%'
    group by r.id`)
  const wrong = rows.flatMap(({ id, status, attempt, types }) => {
    const life = (types ?? []).map((type) => letters[type] ?? "?").join("")
    const begun = life.split("r").length - 1
    // A run that is given back before it began counts as no attempt.
    return lives[status]?.test(life) === true && begun >= attempt
      ? []
      : [`${id} (${status}, attempt ${attempt}): ${life}`]
  })
  return wrong.length === 0 ? [] : [`${wrong.length}: runs whose events are wrong: ${wrong.slice(0, few).join("; ")}`]
}
