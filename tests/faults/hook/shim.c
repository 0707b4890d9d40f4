/* What a process sees of a host whose clock jumps or whose disk is full, out of inodes or slow, as a control file says.

   Loaded by LD_PRELOAD into the processes of a site or of PostgreSQL; only files below $FAULTS_ROOT are concerned. The
   control file ($FAULTS_CONTROL) is mapped, so that the harness changes it while they run. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
  int64_t clock_s;    /* added to the host's clock */
  int64_t sync_ms;    /* how long each fsync takes longer */
  int64_t is_full;    /* no file can grow */
  int64_t no_inodes;  /* no file or folder can be made */
  int64_t is_foreign; /* no hard links: another file system */
};

static const struct control nothing;
static const volatile struct control *control = &nothing;
static const char *root = "";

__attribute__((constructor)) static void open_control(void) {
  const char *path = getenv("FAULTS_CONTROL");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *found = mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (found != MAP_FAILED) control = found;
  if (getenv("FAULTS_ROOT")) root = getenv("FAULTS_ROOT");
}

#define REAL(name) ({ static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); real; })

static int is_below(const char *path) { return *root && strncmp(path, root, strlen(root)) == 0; }

static int is_ours(int fd) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n <= 0) return 0;
  path[n] = 0;
  return is_below(path);
}

/* Whether bytes up to `end` would make a file of ours grow; `end` < 0: appended where the descriptor stands. */
static int grows(int fd, off_t end, size_t more) {
  struct stat s;
  if (!control->is_full || fstat(fd, &s) || !S_ISREG(s.st_mode) || !is_ours(fd)) return 0;
  if (end < 0) end = lseek(fd, 0, SEEK_CUR) + (off_t)more;
  return end > s.st_size;
}

#define REFUSE(code) do { errno = code; return -1; } while (0)

ssize_t write(int fd, const void *b, size_t n) { if (grows(fd, -1, n)) REFUSE(ENOSPC); return REAL(write)(fd, b, n); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) {
  if (grows(fd, o + (off_t)n, 0)) REFUSE(ENOSPC);
  return REAL(pwrite)(fd, b, n, o);
}
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) {
  if (grows(fd, o + (off_t)n, 0)) REFUSE(ENOSPC);
  return REAL(pwrite64)(fd, b, n, o);
}
static size_t length(const struct iovec *v, int n) { size_t sum = 0; while (n-- > 0) sum += v[n].iov_len; return sum; }
ssize_t pwritev(int fd, const struct iovec *v, int n, off_t o) {
  if (grows(fd, o + (off_t)length(v, n), 0)) REFUSE(ENOSPC);
  return REAL(pwritev)(fd, v, n, o);
}
ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t o) {
  if (grows(fd, o + (off_t)length(v, n), 0)) REFUSE(ENOSPC);
  return REAL(pwritev64)(fd, v, n, o);
}
int posix_fallocate(int fd, off_t o, off_t n) { return grows(fd, o + n, 0) ? ENOSPC : REAL(posix_fallocate)(fd, o, n); }
int posix_fallocate64(int fd, off64_t o, off64_t n) {
  return grows(fd, o + n, 0) ? ENOSPC : REAL(posix_fallocate64)(fd, o, n);
}

static void slow(int fd) {
  int64_t ms = control->sync_ms;
  if (ms && is_ours(fd)) usleep((useconds_t)(ms * 1000));
}
int fsync(int fd) { slow(fd); return REAL(fsync)(fd); }
int fdatasync(int fd) { slow(fd); return REAL(fdatasync)(fd); }

static int is_new(int folder, const char *path) {
  char full[PATH_MAX];
  struct stat s;
  if (!control->no_inodes) return 0;
  if (*path != '/') {
    char link[64];
    if (folder == AT_FDCWD) { if (!getcwd(full, sizeof full)) return 0; }
    else {
      snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
      ssize_t n = readlink(link, full, sizeof full - 1);
      if (n <= 0) return 0;
      full[n] = 0;
    }
  } else snprintf(full, sizeof full, "%s", path);
  return is_below(full) && fstatat(folder, path, &s, AT_SYMLINK_NOFOLLOW) != 0;
}
#define MODE(flags) mode_t m = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { va_list a; va_start(a, flags); m = va_arg(a, mode_t); va_end(a); }
int open(const char *p, int flags, ...) {
  MODE(flags)
  if ((flags & O_CREAT) && is_new(AT_FDCWD, p)) REFUSE(ENOSPC);
  return REAL(open)(p, flags, m);
}
int open64(const char *p, int flags, ...) {
  MODE(flags)
  if ((flags & O_CREAT) && is_new(AT_FDCWD, p)) REFUSE(ENOSPC);
  return REAL(open64)(p, flags, m);
}
int openat(int d, const char *p, int flags, ...) {
  MODE(flags)
  if ((flags & O_CREAT) && is_new(d, p)) REFUSE(ENOSPC);
  return REAL(openat)(d, p, flags, m);
}
int openat64(int d, const char *p, int flags, ...) {
  MODE(flags)
  if ((flags & O_CREAT) && is_new(d, p)) REFUSE(ENOSPC);
  return REAL(openat64)(d, p, flags, m);
}
int mkdir(const char *p, mode_t m) { if (is_new(AT_FDCWD, p)) REFUSE(ENOSPC); return REAL(mkdir)(p, m); }
int mkdirat(int d, const char *p, mode_t m) { if (is_new(d, p)) REFUSE(ENOSPC); return REAL(mkdirat)(d, p, m); }

int link(const char *from, const char *to) {
  if (control->is_foreign && is_below(to)) REFUSE(EXDEV);
  return REAL(link)(from, to);
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
  if (control->is_foreign && is_below(to)) REFUSE(EXDEV);
  return REAL(linkat)(a, from, b, to, flags);
}

int clock_gettime(clockid_t which, struct timespec *found) {
  int code = REAL(clock_gettime)(which, found);
  if (code == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) found->tv_sec += control->clock_s;
  return code;
}
int gettimeofday(struct timeval *restrict found, void *restrict zone) {
  int code = REAL(gettimeofday)(found, zone);
  if (code == 0) found->tv_sec += control->clock_s;
  return code;
}
time_t time(time_t *found) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (found) *found = now.tv_sec;
  return now.tv_sec;
}
