// A WebSocket client: for each line of its input, that many messages, and their echoes.
"use strict";
const { createHash } = require("node:crypto");
const readline = require("node:readline");
const WebSocket = require("ws");

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");

const sent = createHash("sha256");
const echoed = createHash("sha256");
let [messages, echoes, bytes] = [0, 0, 0];
const socket = new WebSocket(process.argv[2]);
socket.on("upgrade", (answer) => say({ upgrade: answer.headers.upgrade, status: answer.statusCode }));
socket.on("error", (error) => say({ error: error.message }));
socket.on("close", (code) => {
  say({ closed: code });
  process.exit(1);
});
socket.on("pong", () => say({ pong: true }));
socket.on("message", (data) => {
  echoed.update(data);
  echoes += 1;
  if (echoes === messages) {
    say({ echoes, bytes, sha256: sent.copy().digest("hex"), same: sent.copy().digest("hex") === echoed.copy().digest("hex") });
  }
});
socket.on("open", () => {
  readline.createInterface({ input: process.stdin }).on("line", (count) => {
    const last = messages + Number(count);
    for (messages += 1; messages <= last; messages += 1) {
      // Text and bytes, from one to seventy thousand: every length that a frame can say.
      const size = [1, 125, 126, 70000][messages % 4];
      const data = messages % 2 ? "p".repeat(size) : Buffer.alloc(size, messages & 255);
      sent.update(data);
      bytes += size;
      socket.send(data);
    }
    messages = last;
    socket.ping();
  });
});
