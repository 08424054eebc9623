import { stripVTControlCharacters } from "node:util"

/** Colours of one stream; identity when it is not a terminal or nobody wants them. */
export interface Style {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly red: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
}

const paint = (open: number, close: number) => (text: string) => `\u001b[${open}m${text}\u001b[${close}m`
const plain = (text: string) => text

export const colourful: Style = {
  bold: paint(1, 22),
  dim: paint(2, 22),
  red: paint(31, 39),
  green: paint(32, 39),
  yellow: paint(33, 39),
}
export const colourless: Style = { bold: plain, dim: plain, red: plain, green: plain, yellow: plain }

/** Characters that a text takes on a terminal; colours take none. */
export const widthOf = (text: string): number => [...stripVTControlCharacters(text)].length

/** The colour that a run's or a check's status has everywhere. */
export const paintStatus = (style: Style, status: string): string => {
  switch (status) {
    case "success":
    case "passed":
    case "ok":
    case "ready":
      return style.green(status)
    case "failed":
    case "error":
    case "not_ready":
      return style.red(status)
    case "degraded":
    case "warned":
    case "warn":
    case "cancelled":
    case "skipped":
      return style.yellow(status)
    default:
      return status
  }
}
