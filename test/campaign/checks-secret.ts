import type { Check, Evidence } from "./evidence.ts";

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
      .filter(({ secret }) => text.includes(secret))
      .map(({ what }) => `${what} is in ${where}`),
  );
};

function secretsOf({
  tokens,
  caches,
}: Evidence): { readonly what: string; readonly secret: string }[] {
  const keys = caches.flatMap(({ log }) =>
    log.flatMap(({ target }) => {
      const key = /X-Amz-Signature=([^&]+)/.exec(target)?.[1];
      return key === undefined ? [] : [{ what: "the signature of a part URL", secret: key }];
    }),
  );
  return [...tokens.map((secret) => ({ what: "a token", secret })), ...keys];
}
