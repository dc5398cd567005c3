const twoDigits = (value: number) => String(value).padStart(2, '0');
const named = (options: Intl.DateTimeFormatOptions) => (date: Date) =>
  new Intl.DateTimeFormat('en', options).format(date);

/** What the codes of C's strftime stand for, in English. */
const codes: Readonly<Record<string, (date: Date) => string>> = {
  Y: (date) => String(date.getFullYear()),
  y: (date) => twoDigits(date.getFullYear() % 100),
  m: (date) => twoDigits(date.getMonth() + 1),
  d: (date) => twoDigits(date.getDate()),
  e: (date) => String(date.getDate()).padStart(2),
  H: (date) => twoDigits(date.getHours()),
  I: (date) => twoDigits(date.getHours() % 12 || 12),
  M: (date) => twoDigits(date.getMinutes()),
  S: (date) => twoDigits(date.getSeconds()),
  p: (date) => (date.getHours() < 12 ? 'AM' : 'PM'),
  A: named({ weekday: 'long' }),
  a: named({ weekday: 'short' }),
  B: named({ month: 'long' }),
  b: named({ month: 'short' }),
  F: (date) => formatTime(date, '%Y-%m-%d'),
  T: (date) => formatTime(date, '%H:%M:%S'),
  '%': () => '%',
};

/** A local time in a format of strftime; codes that are not known stay as they are. */
export function formatTime(date: Date, format: string): string {
  return format.replace(/%-?(.)/g, (code, letter: string) => {
    const text = codes[letter]?.(date);
    if (text === undefined) return code;
    return code.startsWith('%-') ? text.replace(/^[0 ](?=.)/, '') : text;
  });
}
