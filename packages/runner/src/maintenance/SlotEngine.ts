import { join } from "node:path"
import { Engine, EngineFailed, type Slot, type SlotDied, type SlotOpFailed } from "@rat/lakehouse"
import { Effect, Scope } from "effect"
import { type Inputs, makeInputs, withSlotFiles } from "../phase/Inputs.ts"

const engineFailed = (error: SlotOpFailed | SlotDied) =>
  new EngineFailed({ code: error._tag === "SlotDied" ? "slot.died" : error.code, reason: error.message })

/** A slot with the operation `sql` as an engine that reads what `inputs` links, until the scope closes. */
export const slotEngine = (slot: Slot, inputs: Inputs, scope: Scope.Scope) =>
  Engine.of({
    run: (sql) =>
      slot.call<ReadonlyArray<Readonly<Record<string, unknown>>>>("sql", { sql }).pipe(Effect.mapError(engineFailed)),
    readable: (locations) =>
      inputs.addTable({ locations }).pipe(
        withSlotFiles(slot),
        Effect.provideService(Scope.Scope, scope),
        Effect.as(inputs.pathOf),
        Effect.mapError((error) => {
          switch (error._tag) {
            case "RunFailed":
              return new EngineFailed({ code: error.code, reason: error.message })
            case "SlotDied":
            case "SlotOpFailed":
              return engineFailed(error)
            default:
              return error
          }
        }),
      ),
    outFolder: join(slot.folder, "out"),
    written: (location, path) =>
      inputs
        .addWritten(location, path)
        .pipe(Effect.mapError((error) => new EngineFailed({ code: error.code, reason: error.message }))),
  })

/** A slot of `MaintenanceSlots` as an engine, until the scope closes. */
export const makeSlotEngine = Effect.fnUntraced(function* (slot: Slot) {
  return slotEngine(slot, yield* makeInputs(slot), yield* Effect.scope)
})
