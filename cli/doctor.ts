import { Option, type Command } from 'commander';
import { formatDoctorReport } from './doctor/format.js';
import { examine } from './doctor/report.js';
import { addSettings, settingsFrom } from './options.js';

const examples = `
Examples:
  daisychain doctor                              this machine
  daisychain doctor --worker second:7070         … and whether a worker can be reached
  daisychain doctor -m model.gguf                … and what is in a model file`;

/** `daisychain doctor`: what this machine can do, and what may be in the way. */
export function addDoctorCommand(program: Command): void {
  const command = program
    .command('doctor')
    .description(
      'show devices, RDMA, memory, versions, workers in reach, and what a model file holds',
    )
    .addOption(new Option('--json', 'print one JSON object'))
    .addHelpText('after', examples)
    .action(doctor);
  addSettings(command, [
    'model',
    'workers',
    'device',
    'engine',
    'provider',
    'threads',
    'secretFile',
    'insecure',
  ]);
}

async function doctor(flags: Record<string, unknown>): Promise<void> {
  const report = await examine(settingsFrom(flags));
  process.stdout.write(`${flags.json ? JSON.stringify(report) : formatDoctorReport(report)}\n`);
  if (report.workers.some(({ reachable }) => !reachable)) process.exitCode = 1;
}
