import { UsageError } from '../app/errors.js';
import { openModel } from '../app/model.js';
import type { Settings } from '../app/settings/settings.js';
import { writeGguf } from '../model/gguf/writer.js';
import { formatBytes } from './format.js';

/** Writes the synthetic model that the settings name to a file. @returns what was written @throws UsageError */
export async function writeModel(settings: Settings, file: string): Promise<string> {
  if (!settings.synthetic) throw new UsageError('combination', '--write needs a --synthetic shape');
  const source = await openModel(settings);
  const tensors = [...source.tensors.values()];
  await writeGguf(file, source.metadata, tensors, (name, offset, into) =>
    source.read(name, offset, into),
  );
  const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
  return `wrote ${file} (${formatBytes(bytes)})`;
}
