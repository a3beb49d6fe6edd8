/* Shared by the oracle programs: raw system calls, a seeded generator, and printing.
 *
 * Everything printed must be the same on every run with the same seed as real root: no process ids, times,
 * addresses or inode numbers.  System calls go through sc(), which returns -errno and never touches errno, so
 * that it may be used in a thread that shares another thread's TLS and in a vfork child.
 */
#ifndef ORACLE_COMMON_H
#define ORACLE_COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define A(x) ((long)(x))

#if defined(__x86_64__)
static inline long sc(long n, long a, long b, long c, long d, long e)
{
    long r;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = 0;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return r;
}
/* The i386 entry, from 64-bit code: the kernel serves it from the i386 table. */
static inline long sc_int80(long n, long a, long b, long c)
{
    long r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c)
                     : "memory", "r8", "r9", "r10", "r11");
    return (long)(int)r;
}
#define HAVE_INT80 1
#elif defined(__i386__)
static inline long sc(long n, long a, long b, long c, long d, long e)
{
    long r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
    return r;
}
#elif defined(__aarch64__)
static inline long raw(long n, long a, long b, long c, long d, long e)
{
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = 0;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
/* It has only the calls that take a directory: these numbers stand for them with the working directory. */
enum {
    __NR_stat = 100000, __NR_lstat, __NR_access, __NR_readlink, __NR_chown, __NR_lchown, __NR_chmod, __NR_mknod,
    __NR_mkdir, __NR_rmdir, __NR_unlink, __NR_symlink, __NR_link, __NR_rename,
};
static inline long sc(long n, long a, long b, long c, long d, long e)
{
    switch (n) {
    case __NR_stat: return raw(__NR_newfstatat, AT_FDCWD, a, b, 0, 0);
    case __NR_lstat: return raw(__NR_newfstatat, AT_FDCWD, a, b, AT_SYMLINK_NOFOLLOW, 0);
    case __NR_access: return raw(__NR_faccessat, AT_FDCWD, a, b, 0, 0);
    case __NR_readlink: return raw(__NR_readlinkat, AT_FDCWD, a, b, c, 0);
    case __NR_chown: return raw(__NR_fchownat, AT_FDCWD, a, b, c, 0);
    case __NR_lchown: return raw(__NR_fchownat, AT_FDCWD, a, b, c, AT_SYMLINK_NOFOLLOW);
    case __NR_chmod: return raw(__NR_fchmodat, AT_FDCWD, a, b, 0, 0);
    case __NR_mknod: return raw(__NR_mknodat, AT_FDCWD, a, b, c, 0);
    case __NR_mkdir: return raw(__NR_mkdirat, AT_FDCWD, a, b, 0, 0);
    case __NR_rmdir: return raw(__NR_unlinkat, AT_FDCWD, a, AT_REMOVEDIR, 0, 0);
    case __NR_unlink: return raw(__NR_unlinkat, AT_FDCWD, a, 0, 0, 0);
    case __NR_symlink: return raw(__NR_symlinkat, a, AT_FDCWD, b, 0, 0);
    case __NR_link: return raw(__NR_linkat, AT_FDCWD, a, AT_FDCWD, b, 0);
    case __NR_rename: return raw(__NR_renameat, AT_FDCWD, a, AT_FDCWD, b, 0);
    default: return raw(n, a, b, c, d, e);
    }
}
#else
static inline long sc(long n, long a, long b, long c, long d, long e)
{
    long r = syscall(n, a, b, c, d, e, 0);
    return r == -1 ? -errno : r;
}
#endif
#define sc0(n) sc(n, 0, 0, 0, 0, 0)
#define sc1(n, a) sc(n, A(a), 0, 0, 0, 0)
#define sc2(n, a, b) sc(n, A(a), A(b), 0, 0, 0)
#define sc3(n, a, b, c) sc(n, A(a), A(b), A(c), 0, 0)
#define sc4(n, a, b, c, d) sc(n, A(a), A(b), A(c), A(d), 0)
#define sc5(n, a, b, c, d, e) sc(n, A(a), A(b), A(c), A(d), A(e))

/* splitmix64: the only source of decisions. */
static uint64_t rng;
static uint64_t rnd64(void)
{
    uint64_t z = (rng += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}
static unsigned rnd(unsigned n) { return (unsigned)((rnd64() >> 11) % n); }
static int one_in(unsigned n) { return rnd(n) == 0; }
#define PICK(arr) ((arr)[rnd(sizeof(arr) / sizeof((arr)[0]))])

/* Who is printing: the path of forks from the first process, and the thread where there are several. */
static char label[64] = "0";
static const char *thread_name = "";

static const char *err_name(long r)
{
    const char *name = strerrorname_np((int)-r);
    return name ? name : "E?";
}

static void put(const char *buf, int len)
{
    int done = 0;
    while (done < len) {
        long n = sc3(__NR_write, 1, buf + done, len - done);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            sc1(__NR_exit_group, 120);
        done += (int)n;
    }
}

static void vline(const char *tail, const char *fmt, va_list ap)
{
    char buf[2048];
    int n = snprintf(buf, sizeof buf, "%s%s: ", label, thread_name);
    n += vsnprintf(buf + n, sizeof buf - (size_t)n - 80, fmt, ap);
    if (n > (int)sizeof buf - 80)
        n = (int)sizeof buf - 80;
    n += snprintf(buf + n, 78, "%s\n", tail);
    put(buf, n);
}

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vline("", fmt, ap);
    va_end(ap);
}

static int is_error(long r) { return r < 0 && r > -4096; }

/* Print "call = result" with an errno name; returns the result. */
__attribute__((format(printf, 2, 3))) static long show(long r, const char *fmt, ...)
{
    char tail[64];
    va_list ap;
    if (is_error(r))
        snprintf(tail, sizeof tail, " = -1 %s", err_name(r));
    else
        snprintf(tail, sizeof tail, " = %ld", r);
    va_start(ap, fmt);
    vline(tail, fmt, ap);
    va_end(ap);
    return r;
}

/* Print "call = ok" or the errno name, for results that are descriptors, pids or sizes. */
__attribute__((format(printf, 2, 3))) static long show_ok(long r, const char *fmt, ...)
{
    char tail[64];
    va_list ap;
    if (is_error(r))
        snprintf(tail, sizeof tail, " = -1 %s", err_name(r));
    else
        snprintf(tail, sizeof tail, " = ok");
    va_start(ap, fmt);
    vline(tail, fmt, ap);
    va_end(ap);
    return r;
}

/* Print "call = id"; an id may look like an error number in 32 bits, so it is never decoded as one. */
__attribute__((format(printf, 2, 3))) static long show_id(long r, const char *fmt, ...)
{
    char tail[64];
    va_list ap;
    snprintf(tail, sizeof tail, " = id %u", (unsigned)r);
    va_start(ap, fmt);
    vline(tail, fmt, ap);
    va_end(ap);
    return r;
}

#define BAD_POINTER ((void *)16L)

/* openat2(2): whoever mounts or renames something meanwhile, be it elsewhere on the machine, makes some of them EAGAIN. */
static inline long open_how(int dirfd, const char *path, const void *how, unsigned long size)
{
    long fd = -EAGAIN;
    for (int tries = 0; fd == -EAGAIN && tries < 1000; tries++)
        fd = sc4(437, dirfd, path, how, size);
    return fd;
}
#endif
