// A verbs library whose two devices, loop0 and loop1, reach each other within the process: a frame is copied when it is
// sent. It has what ours is used for, with the structures' fields where verbs.h has them. LOOPBACK_BROKEN names a device
// whose queue pairs cannot be connected; LOOPBACK_LOSES makes unreliable queue pairs lose one frame of so many.
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { devices = 2, most_pairs = 4096, most_waiting = 64, receive_opcode = 128, unreliable = 3 };

typedef struct { uint64_t address; uint32_t length, key; } Element;
typedef struct { uint64_t id; void *next; Element *elements; int count; } Request;
typedef struct { uint64_t id; uint32_t status, opcode, vendor, bytes, immediate, pair, source, flags; uint64_t rest; } Completion;
typedef struct { Completion entries[8 * most_waiting]; int first, count; } Queue;

typedef struct { void *device; int (*operations[32])(void *, void *, void *); int fd; } Context;
typedef struct { void *context, *domain, *address; size_t length; uint32_t handle, local_key, remote_key; } Region;
typedef struct {
  Context *context;
  void *own, *domain, *send_queue, *receive_queue, *shared;
  uint32_t handle, number, state, kind;
  // Not of verbs.h: the other end, receives that wait for frames, and frames that wait for receives.
  uint32_t other;
  Request receives[most_waiting];
  int receive_count;
  struct { void *bytes; uint32_t length; } frames[most_waiting];
  int frame_count;
} Pair;

static const char *const names[devices] = {"loop0", "loop1"};
static void *const list[devices + 1] = {(void *)&names[0], (void *)&names[1], 0};
static Pair *pairs[most_pairs];
static uint32_t pair_count;
static unsigned sent;

static const char *name_of(const void *device) { return *(const char *const *)device; }

static void complete(Queue *queue, uint64_t id, uint32_t opcode, uint32_t bytes) {
  const int most = sizeof queue->entries / sizeof *queue->entries;
  if (queue->count == most) abort();
  Completion *entry = &queue->entries[(queue->first + queue->count++) % most];
  *entry = (Completion){.id = id, .opcode = opcode, .bytes = bytes};
}

// Frames go to receives in order, as far as there are both.
static void match(Pair *pair) {
  while (pair->receive_count > 0 && pair->frame_count > 0) {
    const Request receive = pair->receives[0];
    void *const bytes = pair->frames[0].bytes;
    const uint32_t length = pair->frames[0].length;
    memmove(pair->receives, pair->receives + 1, --pair->receive_count * sizeof *pair->receives);
    memmove(pair->frames, pair->frames + 1, --pair->frame_count * sizeof *pair->frames);
    if (length > receive.elements->length) abort();
    memcpy((void *)receive.elements->address, bytes, length);
    free(bytes);
    complete(pair->receive_queue, receive.id, receive_opcode, length);
  }
}

static int post_send(void *of, void *what, void *bad) {
  Pair *const pair = of;
  const Request *const request = what;
  const char *const loses = getenv("LOOPBACK_LOSES");
  complete(pair->send_queue, request->id, 0, 0);
  if (pair->kind == unreliable && loses && ++sent % atoi(loses) == 0) return 0;
  Pair *const other = pairs[pair->other];
  if (!other || other->frame_count == most_waiting) return 0;
  // The request's memory is used again: the element has to be read, and the bytes copied, now.
  const Element element = *request->elements;
  void *const bytes = malloc(element.length);
  memcpy(bytes, (void *)element.address, element.length);
  other->frames[other->frame_count].bytes = bytes;
  other->frames[other->frame_count++].length = element.length;
  match(other);
  return 0;
}

static int post_receive(void *of, void *what, void *bad) {
  Pair *const pair = of;
  if (pair->receive_count == most_waiting) return ENOMEM;
  pair->receives[pair->receive_count++] = *(Request *)what;
  match(pair);
  return 0;
}

static int poll_queue(void *of, void *count, void *into) {
  Queue *const queue = of;
  const int most = sizeof queue->entries / sizeof *queue->entries;
  const int taken = queue->count < (int)(intptr_t)count ? queue->count : (int)(intptr_t)count;
  for (int i = 0; i < taken; i++) memcpy((char *)into + i * 48, &queue->entries[(queue->first + i) % most], 48);
  queue->first = (queue->first + taken) % most;
  queue->count -= taken;
  return taken;
}

static int ignore(void *a, void *b, void *c) { return 0; }

void *ibv_get_device_list(int *count) { *count = devices; return (void *)list; }
void ibv_free_device_list(void *of) {}
const char *ibv_get_device_name(void *device) { return name_of(device); }

void *ibv_open_device(void *device) {
  Context *const context = calloc(1, sizeof *context);
  context->device = device;
  context->operations[11] = poll_queue;
  context->operations[12] = ignore;
  context->operations[25] = post_send;
  context->operations[26] = post_receive;
  return context;
}
int ibv_close_device(void *context) { free(context); return 0; }

int ibv_query_port(void *context, uint8_t port, void *into) {
  const uint32_t active[4] = {4, 5, 5, 1};
  memset(into, 0, 52);
  memcpy(into, active, sizeof active);
  return 0;
}

// ::ffff:127.0.0.1 and ::ffff:127.0.0.2.
int ibv_query_gid(void *context, uint8_t port, int index, void *into) {
  const int last = name_of(((Context *)context)->device)[4] - '0' + 1;
  memcpy(into, (const uint8_t[16]){[10] = 0xff, 0xff, 127, 0, 0, last}, 16);
  return 0;
}

void *ibv_alloc_pd(void *context) { return context; }

void *ibv_reg_mr(void *domain, void *address, size_t length, int access) {
  Region *const region = calloc(1, sizeof *region);
  region->local_key = 1;
  return region;
}
int ibv_dereg_mr(void *region) { free(region); return 0; }

void *ibv_create_cq(void *context, int entries, void *data, void *channel, int vector) { return calloc(1, sizeof(Queue)); }
int ibv_destroy_cq(void *queue) { free(queue); return 0; }

void *ibv_create_qp(void *domain, void *attributes) {
  if (++pair_count == most_pairs) { errno = ENOMEM; return 0; }
  Pair *const pair = calloc(1, sizeof *pair);
  pair->context = domain;
  memcpy(&pair->send_queue, (char *)attributes + 8, 8);
  memcpy(&pair->receive_queue, (char *)attributes + 16, 8);
  memcpy(&pair->kind, (char *)attributes + 52, 4);
  pair->number = pair_count;
  pairs[pair_count] = pair;
  return pair;
}

int ibv_modify_qp(void *of, void *attributes, int mask) {
  Pair *const pair = of;
  const char *const broken = getenv("LOOPBACK_BROKEN");
  memcpy(&pair->state, attributes, 4);
  if (pair->state != 2) return 0;
  if (broken && strcmp(name_of(pair->context->device), broken) == 0) return EINVAL;
  memcpy(&pair->other, (char *)attributes + 28, 4);
  return 0;
}

int ibv_destroy_qp(void *of) {
  Pair *const pair = of;
  for (int i = 0; i < pair->frame_count; i++) free(pair->frames[i].bytes);
  pairs[pair->number] = 0;
  free(pair);
  return 0;
}
