import fs from 'node:fs';
import { fileURLToPath } from 'node:url';

const packageFile = new URL('../../package.json', import.meta.url);

const contents = JSON.parse(fs.readFileSync(packageFile, 'utf8')) as {
  readonly version: string;
  readonly bin: { readonly daisychain: string };
};

/** The version of daisychain. */
export const version = contents.version;

/** Path of the program `daisychain`. */
export const program = fileURLToPath(new URL(contents.bin.daisychain, packageFile));
