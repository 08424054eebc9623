/** 2999806 → "2,999,806" */
export const countText = (count: number): string => count.toLocaleString("en-US")

/** 1, "row" → "1 row"; 2000, "row" → "2,000 rows" */
export const countedText = (count: number, what: string): string =>
  `${countText(count)} ${what}${count === 1 ? "" : "s"}`

/** Bytes in the unit that keeps the number short: 13493022 → "12.9 MiB". */
export const bytesText = (bytes: number): string => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"]
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}

/** Milliseconds for people: "85 ms", "1.9 s", "3 min 20 s". */
export const durationText = (ms: number): string => {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}

/** RFC 3339 → "2001-02-03 04:05:06" in UTC. */
export const timeText = (time: string | null): string => (time === null ? "" : time.slice(0, 19).replace("T", " "))
