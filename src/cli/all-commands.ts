import type { NamedCommand } from "./command.ts";
import { doctorCommand } from "./doctor.ts";
import { execCommandSpec } from "./exec.ts";
import type { Io } from "./io.ts";
import { keygenCommand } from "./keygen.ts";
import { pinCommand } from "./pin.ts";
import { planCommand } from "./plan.ts";
import { pruneCommand } from "./prune.ts";
import { pushCommand } from "./push.ts";
import { serveCommand } from "./serve.ts";
import { statusCommand } from "./status.ts";
import { suggestCommand } from "./suggest.ts";
import { syncCommand } from "./sync.ts";
import { verifyCommand } from "./verify.ts";
import { watchCommand } from "./watch.ts";
import { whyCommand } from "./why.ts";

/** Returns every command, in the order of the help. */
export function allCommands(io: Io): readonly NamedCommand[] {
  return [
    pushCommand(io),
    planCommand(io),
    whyCommand(io),
    syncCommand(io),
    statusCommand(io),
    verifyCommand(io),
    suggestCommand(io),
    execCommandSpec(io),
    watchCommand(io),
    pinCommand(io),
    pruneCommand(io),
    keygenCommand(io),
    doctorCommand(io),
    serveCommand(io),
  ];
}
