/** The first Ctrl-C or SIGTERM aborts `signal`; a second ends the process as if nobody had listened. */
export function interruptible(): { readonly signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const stop = () => {
    controller.abort();
    forget();
  };
  const forget = () => {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return { signal: controller.signal, [Symbol.dispose]: forget };
}
