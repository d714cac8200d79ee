import { id, object, query, work } from "../packages/core/src/stand-in.ts"

await work("seed")
await query("INSERT INTO messages VALUES ($1)", [`row of instance ${id}`])
await object("seed.txt", `object of instance ${id}`)
