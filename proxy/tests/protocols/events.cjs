// A client of server-sent events: prints each one, and how the stream ended for good.
"use strict";
const { EventSource } = require("eventsource");

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");

say({ client: `eventsource ${require("eventsource/package.json").version}, node ${process.version}` });
const source = new EventSource(process.argv[2]);
source.addEventListener("open", () => say({ open: true }));
source.addEventListener("payment", (event) =>
  say({ id: Number(event.lastEventId), payment: JSON.parse(event.data).payment }));
source.addEventListener("error", (event) => {
  say({ error: event.message ?? null, code: event.code ?? null, state: source.readyState });
  if (source.readyState === EventSource.CLOSED) process.exit(1);
});
