import type { Check, Evidence, KnownSecret } from "./evidence.ts";

/** Promise 6: tokens, and part URLs while they live, stay between the program and the cache. */
export const secretsAreKept: Check = (evidence) => {
  const { ended, files, step, schedule } = evidence;
  // The command of exec is its user's own and gets all of its environment.
  const mayInherit = step.command === "exec" && schedule.token === "variable";
  const programs = [...ended.sightings, ...ended.leftBehind].flatMap(
    ({ pid, command, environment }) => [
      { where: `the arguments of program ${pid}`, text: command },
      {
        where: `the environment of program ${pid} (${command})`,
        text: mayInherit ? "" : environment,
      },
    ],
  );
  const places = [
    { where: "stdout", text: ended.stdout },
    { where: "stderr", text: ended.stderr },
    ...files.map(({ name, bytes }) => ({ where: name, text: bytes.toString("latin1") })),
    ...evidence.upstreamLog.map(({ headers }) => ({
      where: "a request to upstream",
      text: headers,
    })),
    ...programs,
  ];
  const secrets = secretsOf(evidence);
  return places.flatMap(({ where, text }) =>
    secrets
      .filter(({ text: secret }) => text.includes(secret))
      .map(({ what }) => `${what} is in ${where}`),
  );
};

function secretsOf({ secrets, caches }: Evidence): KnownSecret[] {
  const keys = caches.flatMap(({ log }) =>
    log.flatMap(({ target }) => {
      const key = /[Ss]ignature=([^&]+)/.exec(target)?.[1];
      return key === undefined ? [] : [{ what: "the signature of a part URL", text: key }];
    }),
  );
  return [...secrets, ...keys];
}
