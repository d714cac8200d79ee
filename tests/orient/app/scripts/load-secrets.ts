// Prints what a shell can read: export NAME='it'\''s'
import { query, work } from "../packages/core/src/stand-in.ts"

await work("load-secrets")
for (const { name, value } of await query("SELECT name, value FROM secrets ORDER BY name")) {
  console.log(`export ${name}='${value.replaceAll("'", "'\\''")}'`)
}
