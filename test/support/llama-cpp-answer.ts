import { openLlamaCpp } from './llama-cpp.js';

// Prints as JSON what llama.cpp makes of a text; in a process of its own, as it ends the process over what it does not like.
const [, , file = '', vocabulary = '0', tokens = '[]'] = process.argv;
using text = openLlamaCpp(file, Number(vocabulary), 64);
process.stdout.write(JSON.stringify([...text.logitsAfter(JSON.parse(tokens) as number[])]));
