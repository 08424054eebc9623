import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

/** The parts of minijinja's environment that templates need. */
export interface TemplateEnvironment {
  debug: boolean
  undefinedBehavior: string
  get fuel(): number | undefined
  set fuel(value: number | null | undefined)
  addTemplate(name: string, source: string): void
  renderNamedStr(name: string, source: string, context: object): string
  free(): void
}

interface EngineModule {
  readonly initSync: (options: { readonly module: WebAssembly.Module }) => unknown
  readonly Environment: new () => TemplateEnvironment
}

const pageBytes = 65_536
const memorySection = 5

const readLeb = (bytes: Uint8Array, start: number): { readonly value: number; readonly next: number } => {
  let value = 0
  for (let at = start, shift = 0; ; at++, shift += 7) {
    const byte = bytes[at]!
    value |= (byte & 0x7f) << shift
    if ((byte & 0x80) === 0) return { value, next: at + 1 }
  }
}

const leb = (value: number): ReadonlyArray<number> =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >>> 7)]

/**
 * The module with a maximum on its one memory (WebAssembly spec, "Binary format", memory section). As shipped it has none
 * and `{{ 'x' * 1000000000 }}` takes gigabytes that the engine's memory limit knows nothing of.
 */
export const limitMemory = (wasm: Uint8Array, maximumBytes: number): Uint8Array<ArrayBuffer> => {
  let at = 8
  while (at < wasm.length) {
    const size = readLeb(wasm, at + 1)
    const end = size.next + size.value
    if (wasm[at] === memorySection) {
      const count = readLeb(wasm, size.next)
      const minimum = readLeb(wasm, count.next + 1)
      const body = [...leb(count.value), 1, ...leb(minimum.value), ...leb(Math.floor(maximumBytes / pageBytes))]
      return Uint8Array.from([
        ...wasm.subarray(0, at),
        memorySection,
        ...leb(body.length),
        ...body,
        ...wasm.subarray(end),
      ])
    }
    at = end
  }
  throw new Error("The template engine's module declares no memory.")
}

/** Bytes that one template engine may hold. */
const memoryLimitBytes = 64 * 1_048_576

let generation = 0

/**
 * Loads an engine of its own. A panic (out of memory is one) leaves an engine unusable, so its holder drops it and loads
 * the next: the query makes the loader evaluate the module anew.
 */
export const loadTemplateEngine = async (): Promise<new () => TemplateEnvironment> => {
  const script = import.meta.resolve("minijinja-js/dist/web/minijinja_js.js")
  const wasm = readFileSync(fileURLToPath(new URL("minijinja_js_bg.wasm", script)))
  const engine = (await import(`${script}?generation=${generation++}`)) as EngineModule
  engine.initSync({ module: new WebAssembly.Module(limitMemory(wasm, memoryLimitBytes)) })
  return engine.Environment
}
