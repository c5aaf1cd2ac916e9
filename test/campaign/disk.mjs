// Loaded before the program by --import: its calls to files below CAMPAIGN_DISKS are asked about, one after another,
// on descriptor 3, and become what the answer says. So a disk fails where a schedule wants it, and a program is
// killed between two calls.
import fs from "node:fs";
import promises from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { constants } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { isMainThread } from "node:worker_threads";

const CHANNEL = 3;
const disks = (process.env.CAMPAIGN_DISKS ?? "").split(":").filter(Boolean);
const { writeSync, readSync, openSync, fsyncSync, closeSync, renameSync } = fs;
const [open, write, fsync, close, rename] = [
  promisify(fs.open),
  promisify(fs.write),
  promisify(fs.fsync),
  promisify(fs.close),
  promisify(fs.rename),
];
/** Files of the disk that are open, by their descriptors. */
const names = new Map();

function isOurs(path) {
  return typeof path === "string" && disks.some((disk) => `${path}/`.startsWith(`${disk}/`));
}

let asked = 0;
/** The numbers of calls that succeeded since the last question. */
let over = [];

/** Waits for the answer; nothing else happens in this thread meanwhile. */
function ask(question) {
  asked += 1;
  writeSync(CHANNEL, `${JSON.stringify({ ...question, number: asked, over })}\n`);
  over = [];
  const bytes = Buffer.alloc(64);
  let length = 0;
  while (length === 0 || bytes[length - 1] !== 10) {
    const count = readSync(CHANNEL, bytes, length, bytes.length - length, null);
    if (count === 0) return ["go"]; // nobody is there any more
    length += count;
  }
  return bytes.toString("latin1", 0, length - 1).split(" ");
}

function failure(code, { call, path }) {
  const message = `${code}: planted, ${call} '${path}'`;
  const errno = -(constants.errno[code] ?? 0);
  return Object.assign(new Error(message), { code, errno, syscall: call, path });
}

/** Makes a call as its answer says. `run` gets a part of 1: how much of it is made. */
async function carry(question, run) {
  const [word, code] = ask(question);
  const number = asked;
  if (word === "fail") throw failure(code, question);
  if (word === "late") await sleep(100);
  const result = await run(word === "half" || word === "short" ? 0.5 : 1);
  if (word === "half" || word === "after") throw failure(code, question);
  over.push(number);
  if (word === "report") ask({ ...question, call: "done" });
  return result;
}

/** The same for a call that ends before it returns. */
function carrySync(question, run) {
  const [word, code] = ask(question);
  const number = asked;
  if (word === "fail") throw failure(code, question);
  const result = run(word === "half" || word === "short" ? 0.5 : 1);
  if (word === "half" || word === "after") throw failure(code, question);
  over.push(number);
  if (word === "report") ask({ ...question, call: "done" });
  return result;
}

function openingOf(flags) {
  const creates =
    typeof flags === "number" ? (flags & fs.constants.O_CREAT) !== 0 : /[wa]/.test(flags);
  return creates ? "create" : "open";
}

function kept(fd, path) {
  names.set(fd, path);
  return fd;
}

/** A function that calls back: `ours` returns a promise where the call is one to the disk. */
function around(original, ours, results = (result) => [result]) {
  const changed = (...given) => {
    const outcome = ours(...given.slice(0, -1));
    if (outcome === undefined) return original(...given);
    void callBack(outcome, results, given.at(-1));
  };
  // Among them is what promisify goes by.
  return Object.defineProperties(changed, Object.getOwnPropertyDescriptors(original));
}

async function callBack(outcome, results, callback) {
  let told;
  try {
    told = [null, ...results(await outcome)];
  } catch (error) {
    told = [error];
  }
  callback(...told);
}

const part = (length, share) => Math.ceil(length * share);

function replaceCallbacks() {
  fs.open = around(fs.open, (path, flags, mode) => {
    if (!isOurs(path)) return undefined;
    return carry({ call: openingOf(flags), path }, async () =>
      kept(await open(path, flags, mode), path),
    );
  });
  fs.write = around(
    fs.write,
    (fd, bytes, ...where) => {
      if (!names.has(fd)) return undefined;
      const [offset, length, place] = where;
      const run = (share) => write(fd, bytes, offset, part(length, share), place);
      return carry({ call: "write", path: names.get(fd) }, run);
    },
    ({ bytesWritten, buffer }) => [bytesWritten, buffer],
  );
  fs.fsync = around(fs.fsync, (fd) =>
    names.has(fd) ? carry({ call: "sync", path: names.get(fd) }, () => fsync(fd)) : undefined,
  );
  fs.close = around(fs.close, (fd) => {
    const path = names.get(fd);
    if (!names.delete(fd)) return undefined;
    return carry({ call: "close", path }, () => close(fd));
  });
  fs.rename = around(fs.rename, (from, to) =>
    isOurs(to) ? carry({ call: "rename", path: to, from }, () => rename(from, to)) : undefined,
  );
}

/** Those for files in memory. */
function replaceSync() {
  fs.openSync = (path, flags, mode) => {
    if (!isOurs(path)) return openSync(path, flags, mode);
    return carrySync({ call: openingOf(flags), path }, () =>
      kept(openSync(path, flags, mode), path),
    );
  };
  fs.writeSync = (fd, bytes, ...where) => {
    if (!names.has(fd)) return writeSync(fd, bytes, ...where);
    const [offset, length, place] = where;
    const run = (share) => writeSync(fd, bytes, offset, part(length, share), place);
    return carrySync({ call: "write", path: names.get(fd) }, run);
  };
  fs.fsyncSync = (fd) =>
    names.has(fd)
      ? carrySync({ call: "sync", path: names.get(fd) }, () => fsyncSync(fd))
      : fsyncSync(fd);
  fs.closeSync = (fd) => {
    const path = names.get(fd);
    return names.delete(fd)
      ? carrySync({ call: "close", path }, () => closeSync(fd))
      : closeSync(fd);
  };
  fs.renameSync = (from, to) =>
    isOurs(to)
      ? carrySync({ call: "rename", path: to, from }, () => renameSync(from, to))
      : renameSync(from, to);
}

/** Functions of node:fs/promises, each with what it is called here. */
const CALLS = {
  mkdir: "mkdir",
  chmod: "mkdir",
  rm: "remove",
  unlink: "remove",
  readdir: "look",
  stat: "look",
  lstat: "look",
  access: "look",
  statfs: "look",
};

function replacePromises() {
  for (const [name, call] of Object.entries(CALLS)) {
    const original = promises[name];
    promises[name] = (path, ...rest) =>
      isOurs(path) ? carry({ call, path }, () => original(path, ...rest)) : original(path, ...rest);
  }
  const { open, rename } = promises;
  promises.rename = (from, to) =>
    isOurs(to)
      ? carry({ call: "rename", path: to, from }, () => rename(from, to))
      : rename(from, to);
  promises.open = async (path, flags, mode) => {
    if (!isOurs(path)) return open(path, flags, mode);
    const handle = await carry({ call: openingOf(flags), path }, () => open(path, flags, mode));
    const [sync, read] = [handle.sync.bind(handle), handle.read.bind(handle)];
    handle.sync = () => carry({ call: "sync", path }, sync);
    handle.read = (...given) => carry({ call: "read", path }, () => read(...given));
    return handle;
  };
}

if (isMainThread && disks.length > 0) {
  replaceCallbacks();
  replaceSync();
  replacePromises();
  syncBuiltinESMExports();
}
