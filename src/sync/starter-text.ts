import type { Starter } from "./starter.ts";

/** Says what starts a sync, and at what; to be read after "sync:". */
export function starterText({ by, file = "", every }: Starter): string {
  const often = every === undefined ? "" : ` and by time (${every})`;
  switch (by) {
    case "systemd-user":
      return `systemd starts one at each change${often}, by ${file}`;
    case "systemd":
      return `the system's systemd starts one at each change${often}, by ${file}`;
    case "launchd":
      return `launchd starts one at each change${often}, by ${file}`;
    case "cron":
      return `cron starts one (${every ?? ""}), by ${file}`;
    case "shell":
      return "the hook of a shell or a switch starts one when it runs";
    case "nobody":
      return "nothing starts one here";
  }
}
