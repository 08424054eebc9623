/**
 * Renames that people announce (`renamed_columns`: old name to new name). A hint stays in the settings for as long as nobody
 * removes it, so it must do nothing when it was carried out before, or when table and result never had such columns.
 */
export type Renames = Readonly<Record<string, string>>

const lower = (name: string) => name.toLowerCase()

/** Columns inside structs are named by their path: `address.street`; elements of lists are `element`, of maps `key` and `value`. */
const levelOf = (hints: Renames, path: string): ReadonlyMap<string, string> => {
  const prefix = path === "" ? "" : `${lower(path)}.`
  const level = new Map<string, string>()
  for (const [from, to] of Object.entries(hints)) {
    if (!lower(from).startsWith(prefix)) continue
    const inside = from.slice(prefix.length)
    // A dot may be part of a top-level name; a hint of another level matches no name and does nothing.
    const name = lower(to).startsWith(prefix) ? to.slice(prefix.length) : to
    if (inside !== "" && lower(inside) !== lower(name)) level.set(lower(inside), lower(name))
  }
  return level
}

/**
 * Which columns of one level of a table are called what in the result, in lower case. `a: b` applies when the table has `a` and the
 * result has `b` instead; hints in a row (`a: b`, `b: c`) lead from the first name to the one that the result has. Hints in a circle (two
 * columns swap their names) cannot be told from their own outcome: they apply unless `isDone` says that they did before.
 */
export const renamesOf = (
  hints: Renames,
  path: string,
  table: ReadonlyArray<string>,
  result: ReadonlyArray<string>,
  isDone: (circle: string) => boolean,
): ReadonlyMap<string, string> => {
  const level = levelOf(hints, path)
  const inTable = new Set(table.map(lower))
  const inResult = new Set(result.map(lower))
  const circles = circlesOf(level)
  const done = new Set(circles.filter((circle) => isDone(nameOf(path, circle))).flat())
  const chosen = new Map<string, string>()
  for (const from of inTable) {
    if (done.has(from)) continue
    const seen = new Set([from])
    for (let to = level.get(from); to !== undefined && !seen.has(to); to = level.get(to)) {
      seen.add(to)
      if (!inResult.has(to)) continue
      chosen.set(from, to)
      break
    }
  }
  const targets = [...chosen.values()]
  for (const [from, to] of [...chosen]) {
    if (targets.filter((other) => other === to).length > 1) chosen.delete(from)
  }
  // The new name must be free, or become free; the old one must be gone from the result, or be taken by another column.
  for (let isStable = false; !isStable; ) {
    isStable = true
    const taken = new Set(chosen.values())
    for (const [from, to] of chosen) {
      const isFree = !inTable.has(to) || chosen.has(to)
      const isGone = !inResult.has(from) || taken.has(from)
      if (isFree && isGone) continue
      chosen.delete(from)
      isStable = false
      break
    }
  }
  return chosen
}

const circlesOf = (level: ReadonlyMap<string, string>): ReadonlyArray<ReadonlyArray<string>> => {
  const circles: Array<ReadonlyArray<string>> = []
  const known = new Set<string>()
  for (const start of level.keys()) {
    const way: Array<string> = []
    let at: string | undefined = start
    while (at !== undefined && !known.has(at) && !way.includes(at)) {
      way.push(at)
      at = level.get(at)
    }
    if (at !== undefined && way.includes(at)) circles.push(way.slice(way.indexOf(at)))
    for (const name of way) known.add(name)
  }
  return circles
}

/** A circle by its names, from the first of them in the alphabet. */
const nameOf = (path: string, circle: ReadonlyArray<string>): string => {
  const first = circle.indexOf([...circle].sort()[0]!)
  return [path, ...circle.slice(first), ...circle.slice(0, first)].join(">")
}

/** All circles among hints, each by a name that is the same in every run: what a table remembers as done. */
export const renameCircles = (hints: Renames): ReadonlyArray<string> => {
  const paths = new Set(
    Object.keys(hints).flatMap((name) =>
      name.split(".").map((_, index, parts) => parts.slice(0, index).join(".").toLowerCase()),
    ),
  )
  return [...paths].flatMap((path) => circlesOf(levelOf(hints, path)).map((circle) => nameOf(path, circle))).sort()
}
