import type { StageStats } from '../coord/stage-stats.js';

/** Bytes as people read them. */
export function formatBytes(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(0)} MB` : `${(bytes / 1e3).toFixed(0)} kB`;
}

/** Median and 99th percentile of a link; a dash where there is no link, or nothing was timed. */
export function formatLatency({ samples, p50Ms, p99Ms }: StageStats['latency']): string {
  return samples === 0 ? '-' : `${p50Ms.toFixed(2)}/${p99Ms.toFixed(2)} ms`;
}

/** Names with their versions. */
export function formatVersions(versions: Readonly<Record<string, string>>): string {
  return Object.entries(versions)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}

/** Rows in columns as wide as they need: the first to the left, figures to the right. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const columns = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, i) =>
    Math.max(...rows.map((row) => row[i]?.length ?? 0)),
  );
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
