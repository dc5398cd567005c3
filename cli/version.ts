import fs from 'node:fs';

const packageFile = new URL('../../package.json', import.meta.url);

/** The version of daisychain. */
export const version = (JSON.parse(fs.readFileSync(packageFile, 'utf8')) as { version: string })
  .version;
