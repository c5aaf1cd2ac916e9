import { Ledger } from "../src/state/ledger.ts";
import { makeStateFolder, stateFolder } from "../src/state/state-folder.ts";
import { tempDir } from "./temp.ts";

/** Runs `task` with an empty ledger in a folder of its own. */
export async function withLedger(task: (ledger: Ledger) => void): Promise<void> {
  await using temp = await tempDir();
  const folder = stateFolder(temp.dir);
  await makeStateFolder(folder);
  using ledger = Ledger.open(folder);
  task(ledger);
}
