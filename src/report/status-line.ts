/** One line that is redrawn. */
export interface StatusLine extends Disposable {
  show(text: string): void;
}

/** The line where there is nothing to redraw on. */
export const NO_STATUS_LINE: StatusLine = {
  show: () => undefined,
  [Symbol.dispose]: () => undefined,
};

const REDRAW_MS = 100;

/** Opens a line at the end of a terminal, redrawn at most ten times a second, which is taken away when disposed. */
export async function openStatusLine(stream: NodeJS.WriteStream): Promise<StatusLine> {
  const { createLogUpdate } = await import("log-update");
  const screen = createLogUpdate(stream, { showCursor: true });
  let shownMs = -Infinity;
  return {
    show(text) {
      const nowMs = performance.now();
      if (nowMs - shownMs < REDRAW_MS) return;
      shownMs = nowMs;
      screen(text.slice(0, Math.max(stream.columns - 1, 1)));
    },
    [Symbol.dispose]: () => screen.clear(),
  };
}
