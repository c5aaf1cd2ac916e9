import { type NamedCommand, namedCommand } from "./command.ts";
import { doctorCommand } from "./doctor.ts";
import { execCommandSpec } from "./exec.ts";
import type { Io } from "./io.ts";
import { keygenCommand } from "./keygen.ts";
import { pinCommand } from "./pin.ts";
import { planCommand } from "./plan.ts";
import { pushCommand } from "./push.ts";
import { serveCommand } from "./serve.ts";
import { statusCommand } from "./status.ts";
import { syncCommand } from "./sync.ts";
import { watchCommand } from "./watch.ts";

/** Returns every command, in the order of the help. */
export function allCommands(io: Io): readonly NamedCommand[] {
  return [
    namedCommand(pushCommand(io)),
    namedCommand(planCommand(io)),
    namedCommand(syncCommand(io)),
    namedCommand(statusCommand(io)),
    namedCommand(execCommandSpec(io)),
    namedCommand(watchCommand(io)),
    namedCommand(pinCommand(io)),
    namedCommand(keygenCommand(io)),
    namedCommand(doctorCommand(io)),
    namedCommand(serveCommand(io)),
  ];
}
