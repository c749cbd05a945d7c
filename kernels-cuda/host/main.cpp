// A device on a host: a process that keeps memory, moves bytes, and runs kernels, as commanded on
// its standard input.
//
// Commands are a byte and little-endian numbers: `a` bytes: allocate, answers the address; `w`
// address, bytes, data: write; `r` address, bytes: read, answers the data; `c` from, to, bytes:
// copy; `l` kernel, grid (3), threads, shared bytes, parameter bytes, parameters: run.
#include "kernels.h"

#include <sys/mman.h>
#include <unistd.h>

static bool read_all(void *to, u64 bytes) { return fread(to, 1, bytes, stdin) == bytes; }

template <class T>
static T take() {
  T value;
  if (!read_all(&value, sizeof value)) exit(0);
  return value;
}

// Fresh memory is no number, and it ends where the next page cannot be touched.
static u64 allocate(u64 bytes) {
  // More than any process has; what follows would wrap.
  if (bytes >> 46) return 0;
  u64 page = (u64)sysconf(_SC_PAGESIZE), used = (bytes + 15) / 16 * 16,
      whole = (used + page - 1) / page * page;
  char *start = (char *)mmap(nullptr, whole + page, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return 0;
  memset(start, 0xff, whole);
  if (mprotect(start + whole, page, PROT_NONE)) return 0;
  return (u64)(start + whole - used);
}

// The kernel that runs, its parameters, and the call of it that a fiber makes.
static const void *parameters;
template <class P, void (*KERNEL_FUNCTION)(P)>
static void call() {
  P copy;
  memcpy(&copy, parameters, sizeof copy);
  KERNEL_FUNCTION(copy);
}

struct Entry {
  const char *name;
  void (*body)();
  u64 parameter_bytes;
};

template <class P>
constexpr u64 parameter_bytes(void (*)(P)) {
  return sizeof(P);
}
template <class P>
P parameter_of(void (*)(P));

#define ENTRY(name) {#name, call<decltype(parameter_of(name)), name>, parameter_bytes(name)},
static const Entry ENTRIES[] = {KERNELS(ENTRY)};

extern char __start_block_shared[], __stop_block_shared[];

static void launch() {
  u32 kernel = take<u32>(), numbers[6];
  read_all(numbers, sizeof numbers);
  static char bytes[4096];
  if (kernel >= sizeof ENTRIES / sizeof *ENTRIES || numbers[5] > sizeof bytes ||
      !read_all(bytes, numbers[5])) {
    fprintf(stderr, "emulation: no such launch\n");
    abort();
  }
  const Entry &entry = ENTRIES[kernel];
  if (entry.parameter_bytes != numbers[5] || numbers[3] > emulate::THREADS_MAX ||
      numbers[4] > emulate::DYNAMIC_BYTES) {
    fprintf(stderr,
            "emulation: %s takes %llu bytes of parameters and was given %u; %u threads, %u shared "
            "bytes\n",
            entry.name, entry.parameter_bytes, numbers[5], numbers[3], numbers[4]);
    abort();
  }
  parameters = bytes;
  emulate::body = entry.body;
  emulate::grid_size = {numbers[0], numbers[1], numbers[2]};
  emulate::block_size = {numbers[3], 1, 1};
  for (u32 z = 0; z < numbers[2]; z++) {
    for (u32 y = 0; y < numbers[1]; y++) {
      for (u32 x = 0; x < numbers[0]; x++) {
        memset(__start_block_shared, 0xff, (u64)(__stop_block_shared - __start_block_shared));
        memset(emulate::dynamic, 0xff, emulate::DYNAMIC_BYTES);
        emulate::block = {x, y, z};
        emulate::run_block();
      }
    }
  }
}

int main(int count, char **words) {
  emulate::backwards = count > 1 && !strcmp(words[1], "backwards");
  emulate::stacks = (char *)mmap(nullptr, (u64)emulate::THREADS_MAX * emulate::STACK_BYTES,
                                 PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (;;) {
    switch (take<char>()) {
      case 'a': {
        u64 address = allocate(take<u64>());
        fwrite(&address, sizeof address, 1, stdout);
        fflush(stdout);
        break;
      }
      case 'w': {
        char *to = (char *)take<u64>();
        u64 bytes = take<u64>();
        if (!read_all(to, bytes)) return 1;
        break;
      }
      case 'r': {
        const char *from = (const char *)take<u64>();
        u64 bytes = take<u64>();
        fwrite(from, 1, bytes, stdout);
        fflush(stdout);
        break;
      }
      case 'c': {
        const char *from = (const char *)take<u64>();
        char *to = (char *)take<u64>();
        memcpy(to, from, take<u64>());
        break;
      }
      case 'l':
        launch();
        break;
      default:
        return 1;
    }
  }
}
