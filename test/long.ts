/** True where tests take the time that `.ci/long` has: more kills, more paths, and larger ones. */
export const IS_LONG: boolean = process.env["HANDPICK_TEST_LONG"] !== undefined;
