// A WebSocket server that sends each message back, and says what came over each connection.
"use strict";
const { createHash } = require("node:crypto");
const { WebSocketServer } = require("ws");

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: true });
server.on("connection", (socket, request) => {
  const digest = createHash("sha256");
  let messages = 0;
  socket.on("message", (data, isBinary) => {
    digest.update(data);
    messages += 1;
    socket.send(data, { binary: isBinary });
  });
  socket.on("error", () => {});
  socket.on("close", (code) =>
    say({ closed: code, messages, sha256: digest.digest("hex"), caller: request.headers["x-spiffe-id"] }));
});
server.on("listening", () =>
  say({ listening: server.address().port, version: `ws ${require("ws/package.json").version}` }));
