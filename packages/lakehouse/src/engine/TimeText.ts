/** Texts of dates and times, from the numbers that DuckDB stores. No `Date` objects: they cost, and lose microseconds. */

const two = (n: number): string => (n < 10 ? `0${n}` : String(n))

/** Year of ISO 8601: four digits, or a sign and six (`+012345`, `-000044`; year 0 is 1 BC). */
const yearText = (year: number): string => {
  if (year >= 0 && year <= 9999) return String(year).padStart(4, "0")
  return `${year < 0 ? "-" : "+"}${String(Math.abs(year)).padStart(6, "0")}`
}

/** Year (0 is 1 BC), month and day of days since 1970-01-01, in the proleptic Gregorian calendar (Hinnant, "civil_from_days"). */
export const civilDate = (days: number): { readonly year: number; readonly month: number; readonly day: number } => {
  const shifted = days + 719_468
  const era = Math.floor(shifted / 146_097)
  const dayOfEra = shifted - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day }
}

/** `YYYY-MM-DD` of days since 1970-01-01. */
export const dateText = (days: number): string => {
  const { year, month, day } = civilDate(days)
  return `${yearText(year)}-${two(month)}-${two(day)}`
}

/** `HH:MM:SS` of seconds of a day; 24:00:00 exists. */
export const clockText = (seconds: number): string =>
  `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`

const secondsPerDay = 86_400

/**
 * `YYYY-MM-DDTHH:MM:SS[.fraction]` of ticks since 1970, 10^`digits` of them a second (0, 3, 6 or 9). They come in
 * two halves of 32 bits, the upper one signed: nanoseconds do not fit a JavaScript number, and BigInts cost.
 */
export const timestampText = (high: number, low: number, digits: number): string => {
  const perSecond = 10 ** digits
  const ticks = high * 4_294_967_296 + low
  let seconds: number
  let fraction: number
  if (Number.isSafeInteger(ticks)) {
    seconds = Math.floor(ticks / perSecond)
    fraction = ticks - seconds * perSecond
  } else {
    const exact = (BigInt(high) << 32n) + BigInt(low)
    const rest = BigInt.asUintN(64, (exact % BigInt(perSecond)) + BigInt(perSecond)) % BigInt(perSecond)
    seconds = Number((exact - rest) / BigInt(perSecond))
    fraction = Number(rest)
  }
  const days = Math.floor(seconds / secondsPerDay)
  const text = `${dateText(days)}T${clockText(seconds - days * secondsPerDay)}`
  return digits === 0 ? text : `${text}.${String(fraction).padStart(digits, "0")}`
}

/** `HH:MM:SS.ffffff` of microseconds of a day. */
export const timeText = (micros: number): string => {
  const seconds = Math.floor(micros / 1e6)
  return `${clockText(seconds)}.${String(micros - seconds * 1e6).padStart(6, "0")}`
}

/** `+02:00`, `-03:30`, with seconds only if there are any. */
export const offsetText = (seconds: number): string => {
  const absolute = Math.abs(seconds)
  const rest = absolute % 60
  return `${seconds < 0 ? "-" : "+"}${two(Math.floor(absolute / 3600))}:${two(Math.floor(absolute / 60) % 60)}${rest === 0 ? "" : `:${two(rest)}`}`
}

/** ISO 8601 duration; each component has its own sign, as in DuckDB: `P1Y2M-3DT4H5M6.5S`. Nothing at all is `PT0S`. */
export const intervalText = (months: number, days: number, micros: bigint): string => {
  const years = Math.trunc(months / 12)
  const hours = micros / 3_600_000_000n
  const minutes = (micros / 60_000_000n) % 60n
  const rest = Number(micros % 60_000_000n)
  let date = ""
  if (years !== 0) date += `${years}Y`
  if (months % 12 !== 0) date += `${months % 12}M`
  if (days !== 0) date += `${days}D`
  let time = ""
  if (hours !== 0n) time += `${hours}H`
  if (minutes !== 0n) time += `${minutes}M`
  if (rest !== 0) {
    const absolute = Math.abs(rest)
    const fraction = String(absolute % 1e6)
      .padStart(6, "0")
      .replace(/0+$/, "")
    time += `${rest < 0 ? "-" : ""}${Math.floor(absolute / 1e6)}${fraction === "" ? "" : `.${fraction}`}S`
  }
  if (date === "" && time === "") return "PT0S"
  return `P${date}${time === "" ? "" : `T${time}`}`
}
