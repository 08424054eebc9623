import { pythonWith } from "../interop/Install.ts"

/** A Python with deltalake, installed into `.cache/interop` on the first call; where that cannot be, the reason. */
export const deltaLake = pythonWith("deltalake-1.6.6", ["deltalake==1.6.6", "pyarrow==26.0.1"], "deltalake, pyarrow")
