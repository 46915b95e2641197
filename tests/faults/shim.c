/* Preloaded into a process, it counts the file calls under one folder, lists them, and makes a chosen one go wrong.
 *
 * fault_arm(root, at, kind, log): the call number `at` (from 1; 0 for none) meets `kind`; each call is listed on the
 * descriptor `log` as "call<TAB>path<TAB>second path or data in hexadecimal<TAB>result<NEWLINE>".
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { NONE, KILL, TORN, FAIL_IO, FAIL_SPACE, SHORT, DEAD_DISK, FULL_DISK, STOP };
enum { DESCRIPTORS = 4096 };

static char root[PATH_MAX];
static long at, count;
static enum kind kind;
static int log_to = -1;
static char *paths[DESCRIPTORS];

void fault_arm(const char *folder, long number, int what, int log) {
    snprintf(root, sizeof root, "%s", folder);
    at = number, kind = what, log_to = log, count = 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define BOUND(result, name) static __typeof__(&name) real; if (!real) real = REAL(name)

static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

static int ours(const char *path) {
    size_t length = strlen(root);
    return length && !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

static const char *resolve(int folder, const char *path, char *buffer) {
    char link[64];
    ssize_t length;
    if (path[0] == '/') return path;
    if (folder == AT_FDCWD) return "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    if ((length = readlink(link, buffer, PATH_MAX - 1)) < 0) return "";
    buffer[length] = 0;
    if (path[0]) snprintf(buffer + length, PATH_MAX - length, "/%s", path);
    return buffer;
}

static const char *path_of(int descriptor) {
    return descriptor >= 0 && descriptor < DESCRIPTORS && paths[descriptor] ? paths[descriptor] : "";
}

static void remember(int descriptor, const char *path) {
    if (descriptor < 0 || descriptor >= DESCRIPTORS) return;
    free(paths[descriptor]);
    paths[descriptor] = path ? strdup(path) : NULL;
}

static void list(const char *call, const char *path, const char *second, const void *data, size_t size, long result) {
    BOUND(ssize_t, write);
    if (log_to < 0) return;
    char *line = malloc(2 * PATH_MAX + 2 * size + 64), *end = line;
    end += sprintf(end, "%s\t%s\t%s", call, path, second);
    for (size_t i = 0; i < size; i++) end += sprintf(end, "%02x", ((const unsigned char *)data)[i]);
    end += sprintf(end, "\t%ld\n", result);
    if (real(log_to, line, end - line) < 0) abort();
    free(line);
}

/* Whether this call is to fail, with errno set; kills or stops where that is asked for. */
static int fault(const char *path, int changes, enum kind *met) {
    *met = NONE;
    if (!ours(path)) return 0;
    count++;
    int from_here = at && count >= at;
    if (from_here && kind == DEAD_DISK) { errno = EIO; return 1; }
    if (from_here && kind == FULL_DISK && changes) { errno = ENOSPC; return 1; }
    if (count != at) return 0;
    *met = kind;
    if (kind == KILL) die();
    if (kind == STOP) kill(getpid(), SIGSTOP);
    if (kind == FAIL_IO) { errno = EIO; return 1; }
    if (kind == FAIL_SPACE) { errno = ENOSPC; return 1; }
    return 0;
}

/* A call about a path: the fault before it, the call, the list, and the death after it. */
#define AROUND(type, call, path, second, changes, expression) do { \
    enum kind met; \
    type result = (type)-1; \
    int failed = fault(path, changes, &met); \
    if (!failed) result = (expression); \
    int number = errno; \
    if (ours(path)) list(call, path, second, "", 0, (long)result); \
    if (met == TORN) die(); \
    errno = number; \
    return result; \
} while (0)

static int open_at(int folder, const char *path, int flags, mode_t mode) {
    BOUND(int, openat);
    char buffer[PATH_MAX];
    const char *full = resolve(folder, path, buffer);
    enum kind met;
    int created = flags & O_CREAT, failed = fault(full, created, &met);
    int result = failed ? -1 : real(folder, path, flags, mode), number = errno;
    if (result >= 0) remember(result, ours(full) ? full : NULL);
    if (ours(full)) list(created ? "create" : "open", full, "", "", 0, result);
    if (met == TORN) die();
    errno = number;
    return result;
}

#define OPEN_MODE(flags) mode_t mode = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { \
    va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *path, int flags, ...) { OPEN_MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { OPEN_MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { OPEN_MODE(flags) return open_at(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { OPEN_MODE(flags) return open_at(folder, path, flags, mode); }

int close(int descriptor) {
    BOUND(int, close);
    char path[PATH_MAX];
    enum kind met;
    snprintf(path, sizeof path, "%s", path_of(descriptor));
    int failed = fault(path, 0, &met), number = errno;
    remember(descriptor, NULL);
    int result = real(descriptor);
    if (ours(path)) list("close", path, "", "", 0, result);
    if (met == TORN) die();
    if (failed) { errno = number; return -1; } /* as Linux does: an error, and closed all the same */
    return result;
}

ssize_t write(int descriptor, const void *data, size_t size) {
    BOUND(ssize_t, write);
    const char *path = path_of(descriptor);
    enum kind met;
    if (fault(path, 1, &met)) return -1;
    if (met == TORN) { real(descriptor, data, size / 2); die(); }
    ssize_t result = real(descriptor, data, met == SHORT ? (size + 1) / 2 : size);
    int number = errno;
    if (ours(path)) list("write", path, "", data, result > 0 ? result : 0, result);
    errno = number;
    return result;
}

ssize_t read(int descriptor, void *data, size_t size) {
    BOUND(ssize_t, read);
    AROUND(ssize_t, "read", path_of(descriptor), "", 0, real(descriptor, data, size));
}

ssize_t readv(int descriptor, const struct iovec *pieces, int number_of) {
    BOUND(ssize_t, readv);
    AROUND(ssize_t, "readv", path_of(descriptor), "", 0, real(descriptor, pieces, number_of));
}

int fsync(int descriptor) {
    BOUND(int, fsync);
    AROUND(int, "fsync", path_of(descriptor), "", 1, real(descriptor));
}

int rename(const char *from, const char *to) {
    BOUND(int, rename);
    AROUND(int, "rename", from, to, 1, real(from, to));
}

int renameat2(int first, const char *from, int second, const char *to, unsigned flags) {
    BOUND(int, renameat2);
    AROUND(int, flags & RENAME_EXCHANGE ? "exchange" : "rename", from, to, 1, real(first, from, second, to, flags));
}

int mkdir(const char *path, mode_t mode) {
    BOUND(int, mkdir);
    AROUND(int, "mkdir", path, "", 1, real(path, mode));
}

int unlink(const char *path) {
    BOUND(int, unlink);
    AROUND(int, "unlink", path, "", 0, real(path));
}

int unlinkat(int folder, const char *path, int flags) {
    BOUND(int, unlinkat);
    char buffer[PATH_MAX];
    AROUND(int, flags & AT_REMOVEDIR ? "rmdir" : "unlink", resolve(folder, path, buffer), "", 0,
           real(folder, path, flags));
}

int rmdir(const char *path) {
    BOUND(int, rmdir);
    AROUND(int, "rmdir", path, "", 0, real(path));
}

int stat64(const char *path, struct stat64 *status) {
    BOUND(int, stat64);
    AROUND(int, "stat", path, "", 0, real(path, status));
}

int fstat64(int descriptor, struct stat64 *status) {
    BOUND(int, fstat64);
    AROUND(int, "stat", path_of(descriptor), "", 0, real(descriptor, status));
}

int lstat64(const char *path, struct stat64 *status) {
    BOUND(int, lstat64);
    AROUND(int, "stat", path, "", 0, real(path, status));
}

int statvfs64(const char *path, struct statvfs64 *status) {
    BOUND(int, statvfs64);
    AROUND(int, "statvfs", path, "", 0, real(path, status));
}

DIR *opendir(const char *path) {
    BOUND(DIR *, opendir);
    enum kind met;
    if (fault(path, 0, &met)) return NULL;
    DIR *result = real(path);
    int number = errno;
    if (ours(path)) list("opendir", path, "", "", 0, result ? 0 : -1);
    if (met == TORN) die();
    errno = number;
    return result;
}
