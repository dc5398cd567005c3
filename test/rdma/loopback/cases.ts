import { linkCases, messagesOf, sendAll, type Cases } from '../guest/link-cases.js';
import { openLink } from '../guest/links.js';

/** What is checked with the library of this folder. */
export const cases: Cases = {
  ...linkCases,
  'a queue pair that cannot be connected is not used': unconnected,
  'frames that are lost arrive over tcp': lossy,
};

async function unconnected(): Promise<string> {
  process.env.LOOPBACK_BROKEN = 'loop0';
  try {
    await using link = await openLink('uc', 4096, 'auto');
    await sendAll(link, messagesOf(200, 1));
    if (link.warnings.length !== 2) throw new Error(`warnings: ${link.warnings.join()}`);
    return link.warnings.join();
  } finally {
    delete process.env.LOOPBACK_BROKEN;
  }
}

async function lossy(): Promise<string> {
  process.env.LOOPBACK_LOSES = '40';
  try {
    for (let seed = 1; seed <= 10; seed++) {
      await using link = await openLink('uc', 4096);
      await sendAll(link, messagesOf(100, seed));
      if (link.warnings.length !== 2) throw new Error(`warnings: ${link.warnings.join()}`);
    }
  } finally {
    delete process.env.LOOPBACK_LOSES;
  }
  return '10 links were hit and fell back, all 1,000 messages arrived';
}
