/* Tells ThreadSanitizer what GNU OpenMP's own waiting means: it is compiled without it, so every start and end of a
   parallel region would look like a race. Preloaded by sanitize.py; nothing is changed but what the sanitizer knows. */
#define _GNU_SOURCE
#include <dlfcn.h>

extern void __tsan_acquire(void*);
extern void __tsan_release(void*);

typedef void (*Body)(void*);
typedef struct { Body body; void* data; char begun, done; } Region;
static char critical, barrier;

static void run(void* given) {
    Region* region = given;
    __tsan_acquire(&region->begun);
    region->body(region->data);
    __tsan_release(&region->done);
}

#define REAL(name, ...) \
    typedef __typeof__(__VA_ARGS__) Real; \
    static Real real; \
    if (!real) real = (Real)dlsym(RTLD_NEXT, name)
#define REGION(call) do { Region region = {body, data, 0, 0}; __tsan_release(&region.begun); call; \
    __tsan_acquire(&region.done); } while (0)

void GOMP_parallel(Body body, void* data, unsigned n, unsigned flags) {
    REAL("GOMP_parallel", void (*)(Body, void*, unsigned, unsigned));
    REGION(real(run, &region, n, flags));
}

#define LOOP(name) \
    void name(Body body, void* data, unsigned n, long start, long end, long step, long chunk, unsigned flags) { \
        REAL(#name, void (*)(Body, void*, unsigned, long, long, long, long, unsigned)); \
        REGION(real(run, &region, n, start, end, step, chunk, flags)); \
    }
LOOP(GOMP_parallel_loop_dynamic)
LOOP(GOMP_parallel_loop_nonmonotonic_dynamic)
LOOP(GOMP_parallel_loop_guided)
LOOP(GOMP_parallel_loop_nonmonotonic_guided)

#define PAIR(begin, end, where) \
    void begin(void) { REAL(#begin, void (*)(void)); real(); __tsan_acquire(&where); } \
    void end(void) { REAL(#end, void (*)(void)); __tsan_release(&where); real(); }
PAIR(GOMP_critical_start, GOMP_critical_end, critical)
PAIR(GOMP_atomic_start, GOMP_atomic_end, critical)

#define WAIT(name) void name(void) { REAL(#name, void (*)(void)); __tsan_release(&barrier); real(); __tsan_acquire(&barrier); }
WAIT(GOMP_barrier)
WAIT(GOMP_loop_end)
