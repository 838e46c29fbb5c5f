/* Loaded into a member's processes (LD_PRELOAD): makes the wall clock jump and fsync fail,
 * as the switch says, which is a file that the harness writes and all processes map.
 * The monotonic clocks are never touched: whoever sleeps by them would never wake up. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct page {
    volatile int64_t wall_ns;   /* added to the wall clock */
    volatile int64_t sync_errno; /* fsync and fdatasync fail with it; 0: they don't;
                                    below 0: they do nothing, and say that they did */
    volatile int64_t told;       /* how often a false time was told */
    volatile int64_t failed;     /* how often a sync failed by it */
};

static struct page none;
static struct page *page = &none;
static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void begin(void) {
    real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    const char *path = getenv("CHAOS_SWITCH");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *at = mmap(0, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED) page = at;
}

int clock_gettime(clockid_t id, struct timespec *t) {
    if (!real_gettime) real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real_gettime(id, t);
    int64_t by = page->wall_ns;
    if (result == 0 && by && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        int64_t ns = t->tv_sec * 1000000000LL + t->tv_nsec + by;
        t->tv_sec = ns / 1000000000LL;
        t->tv_nsec = ns % 1000000000LL;
        __atomic_add_fetch(&page->told, 1, __ATOMIC_RELAXED);
    }
    return result;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    (void)zone;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *to) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    if (to) *to = now.tv_sec;
    return now.tv_sec;
}

static int synced(int (*real)(int), int fd) {
    int64_t with = page->sync_errno;
    if (!with) return real(fd);
    __atomic_add_fetch(&page->failed, 1, __ATOMIC_RELAXED);
    if (with < 0) return 0;
    errno = (int)with;
    return -1;
}

int fsync(int fd) {
    if (!real_fsync) real_fsync = dlsym(RTLD_NEXT, "fsync");
    return synced(real_fsync, fd);
}

int fdatasync(int fd) {
    if (!real_fdatasync) real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    return synced(real_fdatasync, fd);
}
