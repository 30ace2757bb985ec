/* Lets system calls of a process under test fail, where QLC_TEST_IO says so: "OP TEXT NTH FAULT" is the fault of the
 * NTH call (from 1; 0: every call) of OP (read, write, fsync) on a file whose path holds TEXT. Faults: eio; short, half
 * of the bytes; flip, a turned bit; full, no space; slow, 20 ms. With QLC_TEST_IO_WHILE, only while that file exists.
 * QLC_TEST_CLOCK moves the wall clock by so many seconds. Loaded by LD_PRELOAD. Anything else is passed on. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <sys/uio.h>
#include <unistd.h>

enum fault { NONE, EIO_, SHORT, FLIP, FULL, SLOW };

static long calls;

static enum fault fault_of(const char *op, int fd) {
    char wanted[16], text[128], what[16], link[64], path[4096];
    long nth;
    const char *told = getenv("QLC_TEST_IO");
    if (!told || sscanf(told, "%15s %127s %ld %15s", wanted, text, &nth, what) != 4 || strcmp(op, wanted)) return NONE;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (length < 0) return NONE;
    path[length] = 0;
    if (!strstr(path, text)) return NONE;
    const char *until = getenv("QLC_TEST_IO_WHILE");
    if (until && syscall(SYS_faccessat, AT_FDCWD, until, F_OK)) return NONE;
    long call = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (nth && call != nth) return NONE;
    if (!strcmp(what, "slow")) {
        usleep(20000);
        return SLOW;
    }
    return !strcmp(what, "eio") ? EIO_ : !strcmp(what, "full") ? FULL : !strcmp(what, "short") ? SHORT : FLIP;
}

static ssize_t failed(void) {
    errno = EIO;
    return -1;
}

static ssize_t no_space(void) {
    errno = ENOSPC;
    return -1;
}

static size_t half(size_t length) { return length > 1 ? length / 2 : length; }

static ssize_t flipped(int fd, const void *from, size_t length) {
    unsigned char *copy = malloc(length);
    if (!copy || !length) return syscall(SYS_write, fd, from, length);
    memcpy(copy, from, length);
    copy[length / 2] ^= 4;
    ssize_t written = syscall(SYS_write, fd, copy, length);
    free(copy);
    return written;
}

ssize_t write(int fd, const void *from, size_t length) {
    switch (fault_of("write", fd)) {
    case EIO_: return failed();
    case FULL: return no_space();
    case SHORT: return syscall(SYS_write, fd, from, half(length));
    case FLIP: return flipped(fd, from, length);
    default: return syscall(SYS_write, fd, from, length);
    }
}

ssize_t writev(int fd, const struct iovec *from, int count) {
    switch (fault_of("write", fd)) {
    case EIO_: return failed();
    case FULL: return no_space();
    case SHORT: return count ? write(fd, from[0].iov_base, half(from[0].iov_len)) : 0;
    case FLIP: return count ? flipped(fd, from[0].iov_base, from[0].iov_len) : 0;
    default: return syscall(SYS_writev, fd, from, count);
    }
}

ssize_t pwrite64(int fd, const void *from, size_t length, off64_t at) {
    switch (fault_of("write", fd)) {
    case EIO_: return failed();
    case FULL: return no_space();
    case SHORT: return syscall(SYS_pwrite64, fd, from, half(length), at);
    default: return syscall(SYS_pwrite64, fd, from, length, at);
    }
}

ssize_t pwrite(int fd, const void *from, size_t length, off_t at) { return pwrite64(fd, from, length, at); }

ssize_t read(int fd, void *to, size_t length) {
    switch (fault_of("read", fd)) {
    case EIO_: return failed();
    case SHORT: return syscall(SYS_read, fd, to, half(length));
    default: return syscall(SYS_read, fd, to, length);
    }
}

ssize_t pread64(int fd, void *to, size_t length, off64_t at) {
    switch (fault_of("read", fd)) {
    case EIO_: return failed();
    case SHORT: return syscall(SYS_pread64, fd, to, half(length), at);
    default: return syscall(SYS_pread64, fd, to, length, at);
    }
}

ssize_t pread(int fd, void *to, size_t length, off_t at) { return pread64(fd, to, length, at); }

int fsync(int fd) { return fault_of("fsync", fd) == EIO_ ? (int)failed() : (int)syscall(SYS_fsync, fd); }

int fdatasync(int fd) { return fault_of("fsync", fd) == EIO_ ? (int)failed() : (int)syscall(SYS_fdatasync, fd); }

int clock_gettime(clockid_t which, struct timespec *at) {
    int code = (int)syscall(SYS_clock_gettime, which, at);
    const char *moved = which == CLOCK_REALTIME ? getenv("QLC_TEST_CLOCK") : NULL;
    if (!code && moved) at->tv_sec += atol(moved);
    return code;
}
