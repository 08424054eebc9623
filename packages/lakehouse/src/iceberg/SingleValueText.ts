import { civilDate } from "../engine/TimeText.ts"
import { decimalScale, type SingleValue } from "./SingleValue.ts"

/** Days and units (micro- or nanoseconds) by which DuckDB stores `infinity` (and, negated, `-infinity`) in DATE and TIMESTAMP columns. */
const infinityDays = 2147483647n
const infinityMicros = 9223372036854775807n
const dayMicros = 86_400_000_000n

/**
 * A single value from DuckDB's text of it: statistics of `COPY … (return_stats)` and values of predicates. Undefined
 * when the text is none of the type.
 */
export const parseSingleValue = (type: string, text: string): SingleValue | undefined => {
  switch (type) {
    case "boolean":
      return text === "1" || text === "true" ? true : text === "0" || text === "false" ? false : undefined
    case "int":
    case "long":
      return /^[+-]?\d+$/.test(text) ? BigInt(text) : undefined
    case "float":
    case "double":
      return parseNumber(text)
    case "string":
      return text
    case "uuid":
      return /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text)
        ? text.toLowerCase()
        : undefined
    case "date":
      if (text === "infinity") return infinityDays
      return text === "-infinity" ? -infinityDays : parseDate(text)
    case "time":
      return parseTime(text, 6)
    case "timestamp":
    case "timestamptz":
      if (text === "infinity") return infinityMicros
      return text === "-infinity" ? -infinityMicros : parseTimestamp(text, 6)
    case "timestamp_ns":
    case "timestamptz_ns":
      if (text === "infinity") return infinityMicros
      return text === "-infinity" ? -infinityMicros : parseTimestamp(text, 9)
    default: {
      const scale = decimalScale(type)
      if (scale !== null) return parseDecimal(text, scale)
      return /^([0-9a-f]{2})*$/i.test(text) ? Buffer.from(text, "hex") : undefined
    }
  }
}

const parseNumber = (text: string): number | undefined => {
  if (text === "inf") return Number.POSITIVE_INFINITY
  if (text === "-inf") return Number.NEGATIVE_INFINITY
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : undefined
}

/** Undefined also when the scale has no room for the digits: rounding would move a bound. */
const parseDecimal = (text: string, scale: number): bigint | undefined => {
  const match = /^([+-]?)(\d*)(?:\.(\d*))?$/.exec(text)
  if (match === null || (match[2] === "" && !match[3])) return undefined
  const fraction = (match[3] ?? "").replace(/0+$/, "")
  if (fraction.length > scale) return undefined
  const unscaled = BigInt(`${match[2]}${fraction.padEnd(scale, "0")}` || "0")
  return match[1] === "-" ? -unscaled : unscaled
}

/** Days since 1970-01-01 of a proleptic Gregorian date; works beyond the range of `Date`. */
const daysOf = (year: number, month: number, day: number): bigint => {
  const shifted = month <= 2 ? year - 1 : year // the year begins in March, so the leap day is its last
  const era = Math.floor(shifted / 400)
  const yearOfEra = shifted - era * 400
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
  return BigInt(
    era * 146097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719468,
  )
}

const parseDate = (text: string): bigint | undefined => {
  const match = /^(\d{1,7})-(\d{2})-(\d{2})( \(BC\))?$/.exec(text)
  if (match === null) return undefined
  const year = match[4] === undefined ? Number(match[1]) : 1 - Number(match[1])
  return daysOf(year, Number(match[2]), Number(match[3]))
}

/** Units of 10^-digits seconds; undefined also when the text has more digits. */
const parseTime = (text: string, digits: 6 | 9): bigint | undefined => {
  const match = /^(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?$/.exec(text)
  if (match === null || (match[4]?.length ?? 0) > digits) return undefined
  const seconds = Number(match[1]) * 3600 + Number(match[2]) * 60 + Number(match[3])
  return BigInt(seconds) * 10n ** BigInt(digits) + BigInt((match[4] ?? "").padEnd(digits, "0"))
}

/** `2020-01-02 03:04:05.5`, `0044-03-15 (BC) 00:00:00`, with `+00` or another offset behind it; a bare date is midnight. */
const parseTimestamp = (text: string, digits: 6 | 9): bigint | undefined => {
  const match = /^(\d{1,7}-\d{2}-\d{2}(?: \(BC\))?)(?:[ T]([\d:.]+)(Z|[+-]\d{2}(?::?\d{2}(?::\d{2})?)?)?)?$/.exec(text)
  if (match === null) return undefined
  const days = parseDate(match[1]!)
  const time = match[2] === undefined ? 0n : parseTime(match[2], digits)
  if (days === undefined || time === undefined) return undefined
  const perMicro = digits === 9 ? 1000n : 1n
  return (days * dayMicros - offsetMicros(match[3] ?? "Z")) * perMicro + time
}

const offsetMicros = (offset: string): bigint => {
  if (offset === "Z") return 0n
  const digits = offset.slice(1).replaceAll(":", "").padEnd(6, "0")
  const seconds = Number(digits.slice(0, 2)) * 3600 + Number(digits.slice(2, 4)) * 60 + Number(digits.slice(4, 6))
  return BigInt(offset.startsWith("-") ? -seconds : seconds) * 1_000_000n
}

/** The value as DuckDB prints it (`cast(… as varchar)`; timestamptz in UTC, binary as `\xNN` throughout). */
export const printSingleValue = (type: string, value: SingleValue): string => {
  switch (type) {
    case "boolean":
      return String(value)
    case "float":
      return printNumber(shortestFloat(value as number))
    case "double":
      return printNumber(value as number)
    case "date":
      return printDate(value as bigint)
    case "time":
      return printTime(value as bigint, 6)
    case "timestamp":
      return printTimestamp(value as bigint, 6)
    case "timestamp_ns":
      return printTimestamp(value as bigint, 9)
    case "timestamptz":
    case "timestamptz_ns": {
      const text = printTimestamp(value as bigint, type === "timestamptz" ? 6 : 9)
      return text.endsWith("infinity") ? text : `${text}+00`
    }
    default: {
      if (value instanceof Uint8Array) {
        return Array.from(value, (byte) => `\\x${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("")
      }
      const scale = decimalScale(type)
      return scale === null ? String(value) : printDecimal(value as bigint, scale)
    }
  }
}

/** The double with the fewest digits that is the same FLOAT: 0.1, not 0.10000000149011612. */
const shortestFloat = (value: number): number => {
  for (let digits = 1; digits <= 9; digits++) {
    const shorter = Number(value.toPrecision(digits))
    if (Math.fround(shorter) === value) return shorter
  }
  return value
}

const printNumber = (value: number): string => {
  if (Number.isNaN(value)) return "nan"
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf"
  if (Object.is(value, -0)) return "-0.0"
  const text = String(value)
  return /^-?\d+$/.test(text) ? `${text}.0` : text
}

const printDecimal = (value: bigint, scale: number): string => {
  const digits = (value < 0n ? -value : value).toString().padStart(scale + 1, "0")
  const sign = value < 0n ? "-" : ""
  return scale === 0 ? `${sign}${digits}` : `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}

const printDate = (days: bigint): string => {
  if (days === infinityDays) return "infinity"
  if (days === -infinityDays) return "-infinity"
  const { year, month, day } = civilDate(Number(days))
  const two = (value: number) => String(value).padStart(2, "0")
  const shown = String(year > 0 ? year : 1 - year).padStart(4, "0")
  return `${shown}-${two(month)}-${two(day)}${year > 0 ? "" : " (BC)"}`
}

const printTime = (units: bigint, digits: 6 | 9): string => {
  const two = (value: bigint) => String(value).padStart(2, "0")
  const second = 10n ** BigInt(digits)
  const seconds = units / second
  const fraction = String(units % second)
    .padStart(digits, "0")
    .replace(/0+$/, "")
  const clock = `${two(seconds / 3600n)}:${two((seconds / 60n) % 60n)}:${two(seconds % 60n)}`
  return fraction === "" ? clock : `${clock}.${fraction}`
}

const printTimestamp = (units: bigint, digits: 6 | 9): string => {
  if (units === infinityMicros) return "infinity"
  if (units === -infinityMicros) return "-infinity"
  const day = dayMicros * (digits === 9 ? 1000n : 1n)
  const days = (units - (((units % day) + day) % day)) / day
  return `${printDate(days)} ${printTime(units - days * day, digits)}`
}
