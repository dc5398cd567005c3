import koffi from 'koffi';

/**
 * Native functions run on stacks of koffi's, those of asynchronous calls on 128 kB unless told otherwise: too little
 * for libraries that expect a thread's usual megabytes. koffi takes no settings once a library is loaded, so whoever
 * loads one imports this first.
 */
koffi.config({ async_stack_size: 4 << 20 });
