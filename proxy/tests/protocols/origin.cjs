// An origin for curl: digests of what is uploaded, bodies of any length, one without an end, and
// events. It says each thing that it has done on a line of JSON.
"use strict";
const { createHash } = require("node:crypto");
const http = require("node:http");

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");

// The bytes differ from place to place, so that a lost or doubled piece changes the digest.
const piece = (number) => {
  const bytes = Buffer.alloc(65536, number & 255);
  for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32BE((number * 16384 + at / 4) >>> 0, at);
  return bytes;
};

async function body(answer, path, wanted) {
  const digest = createHash("sha256");
  let gone = false;
  answer.on("close", () => { gone = true; });
  let sent = 0;
  for (let number = 0; sent < wanted && !gone; number += 1) {
    const bytes = piece(number).subarray(0, Math.min(65536, wanted - sent));
    digest.update(bytes);
    sent += bytes.length;
    if (!answer.write(bytes)) {
      await new Promise((ready) => { answer.once("drain", ready); answer.once("close", ready); });
    }
  }
  answer.end();
  say({ path, sent, sha256: digest.digest("hex"), cut: gone });
}

function upload(request, answer) {
  const digest = createHash("sha256");
  let bytes = 0;
  request.once("data", () => say({ path: request.url, begun: true }));
  request.on("data", (data) => { digest.update(data); bytes += data.length; });
  request.on("end", () => {
    const got = { bytes, sha256: digest.digest("hex"), http: request.httpVersion };
    say({ path: request.url, ...got });
    answer.end(JSON.stringify(got) + "\n");
  });
  request.on("error", () => say({ path: request.url, until: bytes, cut: true }));
}

function events(request, answer) {
  answer.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  answer.write("retry: 50\n\n");
  let number = Number(request.headers["last-event-id"] ?? 0);
  const timer = setInterval(() => {
    number += 1;
    answer.write(`id: ${number}\nevent: payment\ndata: {"payment":${number}}\n\n`);
  }, 20);
  answer.on("close", () => { clearInterval(timer); say({ path: request.url, last: number }); });
}

function serve(request, answer) {
  const [, kind, length] = request.url.split("/");
  if (kind === "upload") upload(request, answer);
  else if (kind === "bytes") body(answer, request.url, Number(length));
  else if (kind === "endless") body(answer, request.url, Infinity);
  else if (kind === "events") events(request, answer);
  else answer.writeHead(404).end();
}

const server = http.createServer(serve);
server.on("checkContinue", (request, answer) => {
  say({ path: request.url, expects: request.headers.expect });
  answer.writeContinue();
  serve(request, answer);
});
server.listen(0, "127.0.0.1", () =>
  say({ listening: server.address().port, version: `node ${process.version}` }));
