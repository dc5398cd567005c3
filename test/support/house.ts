import type { Imports } from './imports.js';

/**
 * The folders, from the ground up. A file may import from its own folder and from floors below; folders that share a
 * floor know nothing of each other.
 */
export const floors: readonly (readonly string[])[] = [
  ['step'],
  ['model', 'transport', 'speculative'],
  ['engine'],
  ['stage'],
  ['coord', 'worker'],
  ['app'],
  ['bench', 'server'],
  ['cli'],
  ['test'],
];

/** Folders with floors of their own, from the ground up. */
const rooms: Readonly<Record<string, readonly string[]>> = {
  transport: ['messages', 'wire', 'protocol'],
};

/** Imports that go up, or to the side, one line each. */
export function importsAgainstFloors(imports: Imports): string[] {
  return [...imports].flatMap(([file, imported]) =>
    imported.filter((other) => !mayImport(file, other)).map((other) => `${file} → ${other}`),
  );
}

function mayImport(file: string, other: string): boolean {
  const [from = '', fromRoom = ''] = file.split('/');
  const [to = '', toRoom = ''] = other.split('/');
  if (from !== to) return floorOf(to) < floorOf(from);
  const order = rooms[from];
  return !order || order.indexOf(toRoom) <= order.indexOf(fromRoom);
}

/** @throws Error for a folder that has no floor */
function floorOf(folder: string): number {
  const floor = floors.findIndex((folders) => folders.includes(folder));
  if (floor < 0) throw new Error(`the folder ${folder}/ has no floor`);
  return floor;
}

/** Circles of files, as `a → b → a`; where files are in several, perhaps not all of them. */
export function circles(imports: Imports): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const way: string[] = [];
  const walk = (file: string): void => {
    const at = way.indexOf(file);
    if (at >= 0) found.push([...way.slice(at), file].join(' → '));
    if (at >= 0 || done.has(file)) return;
    way.push(file);
    for (const other of imports.get(file) ?? []) walk(other);
    way.pop();
    done.add(file);
  };
  for (const file of imports.keys()) walk(file);
  return found;
}
