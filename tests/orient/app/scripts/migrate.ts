import { query, work } from "../packages/core/src/stand-in.ts"

await work("migrate")
await query(`
  CREATE TABLE IF NOT EXISTS messages (text text);
  CREATE TABLE IF NOT EXISTS secrets (name text PRIMARY KEY, value text);
  INSERT INTO secrets VALUES ('SLACK_BOT_TOKEN', 'xoxb-1'), ('SLACK_SIGNING_SECRET', 's'), ('SLACK_APP_TOKEN', 'xapp-1'),
    ('SIGNATURE', 'it''s "mine"') ON CONFLICT DO NOTHING`)
