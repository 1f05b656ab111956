/* Kills the process at its n-th write to a file of the ledger: before it, after half of its bytes, or after it.

   Loaded with LD_PRELOAD by `tests/cli/kill_points.py`. KILL_AT: n. KILL_HOW: before, half or after. Writes are those
   that change what is on the disk, or say that it has to be there: write, pwrite, ftruncate, fsync, fdatasync. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { NOT_NOW, BEFORE, HALF, AFTER };

static atomic_long done;

static int ends_with(const char *text, const char *end) {
    size_t length = strlen(text), short_length = strlen(end);
    return length >= short_length && strcmp(text + length - short_length, end) == 0;
}

static int is_ours(int file) {
    char link[64], path[PATH_MAX + 1];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX);
    if (length < 0) return 0;
    path[length] = 0;
    if (strstr(path, "bulkedit-draft")) return 0; /* not a ledger yet */
    return ends_with(path, "/ledger.sqlite") || ends_with(path, "/ledger.sqlite-wal") || ends_with(path, "/ledger.anchor");
}

static int turn(int file) {
    const char *at = getenv("KILL_AT"), *how = getenv("KILL_HOW");
    if (!at || !how || !is_ours(file) || atomic_fetch_add(&done, 1) + 1 != atol(at)) return NOT_NOW;
    return how[0] == 'b' ? BEFORE : how[0] == 'h' ? HALF : AFTER;
}

static void kill_now(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define KILLED(call, half)              \
    int now = turn(file);               \
    if (now == BEFORE) kill_now();      \
    if (now == HALF) { half; kill_now(); } \
    __typeof__(call) result = call;     \
    if (now == AFTER) kill_now();       \
    return result

ssize_t write(int file, const void *bytes, size_t count) {
    KILLED(REAL(write)(file, bytes, count), (void)!REAL(write)(file, bytes, count / 2));
}
ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    KILLED(REAL(pwrite)(file, bytes, count, offset), (void)!REAL(pwrite)(file, bytes, count / 2, offset));
}
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    KILLED(REAL(pwrite64)(file, bytes, count, offset), (void)!REAL(pwrite64)(file, bytes, count / 2, offset));
}
int ftruncate(int file, off_t length) { KILLED(REAL(ftruncate)(file, length), (void)0); }
int ftruncate64(int file, off64_t length) { KILLED(REAL(ftruncate64)(file, length), (void)0); }
int fsync(int file) { KILLED(REAL(fsync)(file), (void)0); }
int fdatasync(int file) { KILLED(REAL(fdatasync)(file), (void)0); }
