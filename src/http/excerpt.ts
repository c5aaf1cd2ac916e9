const LONGEST = 200;

/**
 * A short form of foreign text for a message. Error bodies follow no format: they can be a page of
 * HTML, and the XML of storage repeats the signature of the URL. Such are cut to their error code;
 * elsewhere control characters go, and whatever follows a `?`.
 */
export function excerpt(foreign: string): string {
  const text = foreign
    .slice(0, 16 * LONGEST)
    .replaceAll(/[\p{C}\s]+/gu, " ")
    .trim();
  if (text.startsWith("<")) {
    return /<Code>([A-Za-z0-9._-]{1,64})<\/Code>/.exec(text)?.[1] ?? "a page of HTML";
  }
  const safe = text.replaceAll(/\?[^\s"'<>]+/g, "?…");
  return safe.length > LONGEST ? `${safe.slice(0, LONGEST)}…` : safe;
}
