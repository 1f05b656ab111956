/* Kills the process, or lets a call fail, at the n-th call that writes below a folder.

   Loaded with LD_PRELOAD by `tests/cli/write_faults.py`, and set by environment variables, when it is loaded or by arm():
   FAULT_ROOT  the folder. Calls on other files, sockets and pipes are neither counted nor changed.
   FAULT_ONLY  "ledger": count only calls on the ledger, its log and its anchor. Another text, such as "rename r": count
               only calls whose name and path below the folder contain it.
   FAULT_AT    n, from 1; 0 counts only.
   FAULT_HOW   "before", "half" or "after": SIGKILL before the call, after half of the bytes of a write, or after it;
               or the number of an errno, with which the call fails.
   FAULT_LASTS "1": all later calls that need space on the disk fail too.
   FAULT_LOG   a file that gets a line per counted call: its number, its name, and the file's path below the folder.

   Calls that write: those that make, fill, shorten, sync, rename, link or remove a file or folder. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum how { NOT_NOW, BEFORE, HALF, AFTER, FAIL };

static atomic_long done;
static long at;
static int number, lasts, report = -1, armed;
static enum how wanted;
static char root[PATH_MAX + 1], only[PATH_MAX + 1];

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static const char *setting(const char *name) {
    const char *text = getenv(name);
    return text ? text : "";
}

__attribute__((constructor)) void arm(void) {
    const char *how = setting("FAULT_HOW");
    armed = 0;
    snprintf(root, sizeof root, "%s", setting("FAULT_ROOT"));
    if (!*root) return;
    snprintf(only, sizeof only, "%s", setting("FAULT_ONLY"));
    at = atol(setting("FAULT_AT"));
    number = atoi(how);
    wanted = number ? FAIL : how[0] == 'b' ? BEFORE : how[0] == 'h' ? HALF : AFTER;
    lasts = *setting("FAULT_LASTS") == '1';
    if (*setting("FAULT_LOG")) report = REAL(open)(setting("FAULT_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    atomic_store(&done, 0);
    armed = 1;
}

static int ends_with(const char *text, const char *end) {
    size_t length = strlen(text), short_length = strlen(end);
    return length >= short_length && strcmp(text + length - short_length, end) == 0;
}

static int is_ours(const char *call, const char *path) {
    size_t length = strlen(root);
    if (strncmp(path, root, length) != 0 || path[length] != '/') return 0;
    if (!*only) return 1;
    if (strcmp(only, "ledger") != 0) {
        char whole[PATH_MAX + 64];
        snprintf(whole, sizeof whole, "%s %s", call, path + length + 1);
        return strstr(whole, only) != NULL;
    }
    if (strstr(path, "bulkedit-draft")) return 0; /* not a ledger yet */
    return ends_with(path, "/ledger.sqlite") || ends_with(path, "/ledger.sqlite-wal") || ends_with(path, "/ledger.anchor");
}

static int path_of(int file, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static enum how turn(const char *call, const char *path, int needs_space) {
    if (!is_ours(call, path)) return NOT_NOW;
    long count = atomic_fetch_add(&done, 1) + 1;
    if (report >= 0) dprintf(report, "%ld %s %s\n", count, call, path + strlen(root) + 1);
    if (!at || count < at) return NOT_NOW;
    if (count == at) return wanted;
    return lasts && wanted == FAIL && needs_space ? FAIL : NOT_NOW;
}

static enum how turn_of(const char *call, int file, int needs_space) {
    char path[PATH_MAX + 1];
    int kept = errno;
    enum how now = armed && path_of(file, path) ? turn(call, path, needs_space) : NOT_NOW;
    errno = kept;
    return now;
}

static enum how turn_at(const char *call, int folder, const char *path, int needs_space) {
    char whole[2 * PATH_MAX + 2] = "";
    int kept = errno;
    if (!armed || !path) return NOT_NOW;
    if (path[0] != '/') {
        if (folder == AT_FDCWD ? !getcwd(whole, PATH_MAX) : !path_of(folder, whole)) return NOT_NOW;
        strcat(whole, "/");
    }
    strncat(whole, path, PATH_MAX);
    errno = kept;
    return turn(call, whole, needs_space);
}

static void kill_now(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

#define DONE(now_, call, half)                   \
    enum how now = now_;                         \
    if (now == BEFORE) kill_now();               \
    if (now == HALF) { half; kill_now(); }       \
    if (now == FAIL) { errno = number; return -1; } \
    __typeof__(call) result = call;              \
    if (now == AFTER) kill_now();                \
    return result

#define ON_FILE(name, space, call, half) DONE(turn_of(#name, file, space), call, half)
#define ON_PATH(name, folder, path, space, call) DONE(turn_at(#name, folder, path, space), call, (void)0)

ssize_t write(int file, const void *bytes, size_t count) {
    ON_FILE(write, 1, REAL(write)(file, bytes, count), (void)!REAL(write)(file, bytes, count / 2));
}
ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    ON_FILE(pwrite, 1, REAL(pwrite)(file, bytes, count, offset), (void)!REAL(pwrite)(file, bytes, count / 2, offset));
}
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    ON_FILE(pwrite, 1, REAL(pwrite64)(file, bytes, count, offset), (void)!REAL(pwrite64)(file, bytes, count / 2, offset));
}
ssize_t writev(int file, const struct iovec *parts, int count) {
    ON_FILE(writev, 1, REAL(writev)(file, parts, count), (void)!REAL(writev)(file, parts, count / 2));
}
ssize_t sendfile(int file, int from, off_t *offset, size_t count);
ssize_t sendfile(int file, int from, off_t *offset, size_t count) {
    ON_FILE(sendfile, 1, REAL(sendfile)(file, from, offset, count), (void)0);
}
ssize_t sendfile64(int file, int from, off64_t *offset, size_t count);
ssize_t sendfile64(int file, int from, off64_t *offset, size_t count) {
    ON_FILE(sendfile, 1, REAL(sendfile64)(file, from, offset, count), (void)0);
}
ssize_t copy_file_range(int from, off64_t *begin, int file, off64_t *offset, size_t count, unsigned flags) {
    ON_FILE(copy_file_range, 1, REAL(copy_file_range)(from, begin, file, offset, count, flags), (void)0);
}
int ftruncate(int file, off_t length) { ON_FILE(ftruncate, 1, REAL(ftruncate)(file, length), (void)0); }
int ftruncate64(int file, off64_t length) { ON_FILE(ftruncate, 1, REAL(ftruncate64)(file, length), (void)0); }
int fsync(int file) { ON_FILE(fsync, 0, REAL(fsync)(file), (void)0); }
int fdatasync(int file) { ON_FILE(fdatasync, 0, REAL(fdatasync)(file), (void)0); }

#define MAKES(flags) ((flags) & (O_CREAT | O_TRUNC))
#define MODE(flags)              \
    mode_t mode = 0;             \
    if (MAKES(flags)) {          \
        va_list more;            \
        va_start(more, flags);   \
        mode = va_arg(more, mode_t); \
        va_end(more);            \
    }
int open(const char *path, int flags, ...) {
    MODE(flags);
    if (!MAKES(flags)) return REAL(open)(path, flags, mode);
    ON_PATH(open, AT_FDCWD, path, 1, REAL(open)(path, flags, mode));
}
int open64(const char *path, int flags, ...) {
    MODE(flags);
    if (!MAKES(flags)) return REAL(open64)(path, flags, mode);
    ON_PATH(open, AT_FDCWD, path, 1, REAL(open64)(path, flags, mode));
}
int openat(int folder, const char *path, int flags, ...) {
    MODE(flags);
    if (!MAKES(flags)) return REAL(openat)(folder, path, flags, mode);
    ON_PATH(open, folder, path, 1, REAL(openat)(folder, path, flags, mode));
}
int openat64(int folder, const char *path, int flags, ...) {
    MODE(flags);
    if (!MAKES(flags)) return REAL(openat64)(folder, path, flags, mode);
    ON_PATH(open, folder, path, 1, REAL(openat64)(folder, path, flags, mode));
}
int mkdir(const char *path, mode_t mode) { ON_PATH(mkdir, AT_FDCWD, path, 1, REAL(mkdir)(path, mode)); }
int mkdirat(int folder, const char *path, mode_t mode) { ON_PATH(mkdir, folder, path, 1, REAL(mkdirat)(folder, path, mode)); }
int rename(const char *from, const char *to) { ON_PATH(rename, AT_FDCWD, to, 0, REAL(rename)(from, to)); }
int renameat(int folder, const char *from, int other, const char *to) {
    ON_PATH(rename, other, to, 0, REAL(renameat)(folder, from, other, to));
}
int renameat2(int folder, const char *from, int other, const char *to, unsigned flags) {
    ON_PATH(rename, other, to, 0, REAL(renameat2)(folder, from, other, to, flags));
}
int link(const char *from, const char *to) { ON_PATH(link, AT_FDCWD, to, 1, REAL(link)(from, to)); }
int linkat(int folder, const char *from, int other, const char *to, int flags) {
    ON_PATH(link, other, to, 1, REAL(linkat)(folder, from, other, to, flags));
}
int unlink(const char *path) { ON_PATH(unlink, AT_FDCWD, path, 0, REAL(unlink)(path)); }
int unlinkat(int folder, const char *path, int flags) { ON_PATH(unlink, folder, path, 0, REAL(unlinkat)(folder, path, flags)); }
int rmdir(const char *path) { ON_PATH(rmdir, AT_FDCWD, path, 0, REAL(rmdir)(path)); }
