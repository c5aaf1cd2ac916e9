import { parentPort } from "node:worker_threads";

import { HandpickError } from "../error.ts";
import type { FromWorker, PackJob, ToWorker } from "./pack-protocol.ts";
import { pack } from "./pack.ts";

/** Entry of a packing thread: one job after another, parts and results as messages. */
if (parentPort !== null) {
  const port = parentPort;
  let granted: ((memory: ArrayBuffer) => void) | undefined;
  const send = (message: FromWorker, transfer: ArrayBuffer[] = []): void =>
    port.postMessage(message, transfer);
  const need = async (sizeBytes: number): Promise<ArrayBuffer> => {
    const memory = new Promise<ArrayBuffer>((resolve) => {
      granted = resolve;
    });
    send({ type: "need", sizeBytes });
    return memory;
  };
  const run = async (job: PackJob): Promise<void> => {
    try {
      const result = await pack(job, {
        need,
        onProgram: (pid) => send({ type: "program", pid }),
        part: (part) => send({ type: "part", ...part }, [part.memory]),
      });
      send({ type: "done", result });
    } catch (error) {
      const known = error instanceof HandpickError ? error : undefined;
      send({
        type: "failed",
        code: known?.code,
        hint: known?.hint,
        message: error instanceof Error ? error.message : String(error),
      });
    }
  };
  port.on("message", (message: ToWorker) => {
    if (message.type === "grant") granted?.(message.memory);
    else void run(message);
  });
}
