/* A library for LD_PRELOAD that stands between one process and the file operations it makes below one folder.
 *
 * It counts them, over all threads, and at the N-th kills the process, fails the call, or writes a part and kills; and it
 * can record every operation with its data, in one total order, for the power-loss model. What it does is told by
 * environment variables (see faultlib.py, which is the other end of this file), read when the library is loaded into the
 * first process of a tree or when that process calls fault_arm(). Child processes never count; with FAULT_CHILDREN they
 * are recorded. On a disk that was built from a recording it can give files the inode numbers they had there, and make
 * believe that the machine was started again. Calls that libc makes from inside itself (posix_spawn's file actions,
 * stdio) do not pass here.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum operation { OPEN = 1, WRITE, FSYNC, FDATASYNC, RENAME, LINK, UNLINK, MKDIR, RMDIR, TRUNCATE, ALLOCATE, SYNCALL };
enum mode { OFF, COUNT, KILL, ONCE, EVER, TORN, SHORT };
enum flag { CREATED = 1, TRUNCATED = 2, FOLDER = 4, SYNCED = 8, NAMELESS = 16, EXCHANGED = 32 };

/* Shared with the runner through a mapped file, so that it survives kill -9. Mirrored in faultlib.py. */
struct control {
  uint64_t count;    /* operations that could have met the fault */
  uint64_t fired;    /* how often it struck */
  uint32_t lifted;   /* set by the runner: strike no more */
  uint32_t op;       /* of the first strike */
  char path[4072];   /* of the first strike, relative to the root */
};

/* One record of the operation log; then path, second path, data. Mirrored in faultlib.py. */
struct record {
  uint32_t magic;
  uint16_t op, flags;
  int32_t pid, err;
  int64_t ret;
  uint64_t ino, ino2;
  int64_t offset, watched;
  int64_t when; /* st_mtime in nanoseconds, after an operation on a descriptor */
  uint32_t path_len, path2_len, data_len, pad;
};

struct inode { uint64_t real, told; };

static struct control nowhere, *control = &nowhere;
static int mode, fault_errno, cut_permille = 500, log_fd = -1, with_children, dead;
static uint64_t strike_at;
static unsigned long only; /* a bit for each operation that counts; 0: all */
static pid_t owner;
static char root[PATH_MAX], watched[PATH_MAX], excluded[2048], other_boot[PATH_MAX];
static size_t root_len;
static struct inode *inodes;
static size_t inode_count;
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name, ...)                                              \
  ({                                                                 \
    static __typeof__(&name) real_;                                  \
    if (!real_) real_ = (__typeof__(&name))dlsym(RTLD_NEXT, #name);  \
    real_(__VA_ARGS__);                                              \
  })

/* ---- which process, which paths ------------------------------------------------------------------------------- */

static int is_owner(void) { return getpid() == owner; }
static int striking(void) { return mode != OFF && is_owner(); }
static int recording(void) { return log_fd >= 0 && (with_children || is_owner()); }
static int awake(void) { return owner && (striking() || recording()); }

static int is_excluded(const char *relative) {
  char patterns[sizeof excluded], *rest = patterns, *pattern;
  strcpy(patterns, excluded);
  while ((pattern = strsep(&rest, ":")))
    if (*pattern && fnmatch(pattern, relative, 0) == 0) return 1;
  return 0;
}

/* The part of an absolute path below the root ("" for the root itself), or NULL when it is not ours. */
static const char *below_root(const char *path) {
  if (!root_len || strncmp(path, root, root_len) || (path[root_len] && path[root_len] != '/')) return NULL;
  const char *relative = path + root_len + (path[root_len] == '/');
  return is_excluded(relative) ? NULL : relative;
}

static const char *fd_path(int fd, char *buffer) {
  char link[40];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  int saved = errno;
  ssize_t n = readlink(link, buffer, PATH_MAX - 1);
  errno = saved;
  if (n <= 0) return NULL;
  buffer[n] = 0;
  if (n > 10 && !strcmp(buffer + n - 10, " (deleted)")) buffer[n - 10] = 0;
  return below_root(buffer);
}

/* Make `path` absolute and free of "." and "..", by text: homes under test are given by their real path. */
static const char *name_path(int dirfd, const char *path, char *buffer) {
  char text[2 * PATH_MAX] = "", *rest = text, *part;
  size_t n = 0;
  buffer[0] = 0;
  if (!path) return NULL;
  if (path[0] != '/') {
    char link[40];
    snprintf(link, sizeof link, dirfd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", dirfd);
    ssize_t got = readlink(link, text, PATH_MAX - 1);
    if (got <= 0) return NULL;
    text[got] = '/';
    n = (size_t)got + 1;
  }
  if (n + strlen(path) >= sizeof text) return NULL;
  strcpy(text + n, path);
  for (n = 0; (part = strsep(&rest, "/"));) {
    if (!*part || !strcmp(part, ".")) continue;
    if (!strcmp(part, "..")) {
      while (n && buffer[--n] != '/') {}
      continue;
    }
    size_t len = strlen(part);
    if (n + len + 2 > PATH_MAX) return NULL;
    buffer[n++] = '/';
    memcpy(buffer + n, part, len);
    n += len;
  }
  buffer[n] = 0;
  return below_root(buffer);
}

/* ---- striking -------------------------------------------------------------------------------------------------- */

/* Can this operation return this errno at all? Only such calls are counted when an errno is injected. */
static int can_fail_with(int op, int error, int opens_only_to_read) {
  if (opens_only_to_read) return error == EMFILE || error == ENFILE || error == EIO || error == EINTR || error == ENOMEM;
  switch (error) {
    case EMFILE: case ENFILE: return op == OPEN;
    case ENOMEM: return op == OPEN || op == MKDIR || op == LINK || op == RENAME;
    case EFBIG: return op == WRITE || op == TRUNCATE || op == ALLOCATE;
    case ENOSPC: case EDQUOT:
      return op == WRITE || op == OPEN || op == MKDIR || op == LINK || op == RENAME || op == FSYNC || op == FDATASYNC ||
             op == ALLOCATE;
    case EROFS: return op != FSYNC && op != FDATASYNC && op != SYNCALL;
    case EINTR: return op != SYNCALL && op != TRUNCATE;
    case EXDEV: return op == RENAME || op == LINK;
    default: return 1;
  }
}

static _Noreturn void die(void) {
  __atomic_store_n(&dead, 1, __ATOMIC_SEQ_CST);
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

static void note_strike(int op, const char *path) {
  if (__atomic_add_fetch(&control->fired, 1, __ATOMIC_SEQ_CST) != 1) return;
  control->op = (uint32_t)op;
  strncpy(control->path, path, sizeof control->path - 1);
}

/* Count one operation. 0: go on; > 0: fail with this errno; -1: write a part, then die; -2: write a part, say so. */
static int strike(int op, const char *path, int reads) {
  if (!striking()) return 0;
  while (__atomic_load_n(&dead, __ATOMIC_SEQ_CST)) pause(); /* another thread's fault has ended the process */
  int fails = mode == ONCE || mode == EVER, parts = mode == TORN || mode == SHORT;
  if (fails ? !can_fail_with(op, fault_errno, reads) : reads) return 0;
  if ((parts && op != WRITE) || (only && !(only >> op & 1))) return 0;
  uint64_t now = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
  if (mode == COUNT || control->lifted || (mode == EVER ? now < strike_at : now != strike_at)) return 0;
  note_strike(op, path);
  if (mode == KILL) die();
  if (mode == TORN) __atomic_store_n(&dead, 1, __ATOMIC_SEQ_CST);
  return mode == TORN ? -1 : mode == SHORT ? -2 : fault_errno;
}

#define STRIKE(op, path, reads)                            \
  do {                                                     \
    int error_ = (path) ? strike((op), (path), (reads)) : 0; \
    if (error_ > 0) {                                      \
      errno = error_;                                      \
      return -1;                                           \
    }                                                      \
  } while (0)

/* ---- recording ------------------------------------------------------------------------------------------------- */

static void begin(void) {
  if (!recording()) return;
  pthread_mutex_lock(&order);
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  while (fcntl(log_fd, F_SETLKW, &whole) < 0 && errno == EINTR) {}
}

static void end(void) {
  if (!recording()) return;
  int saved = errno;
  struct flock whole = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
  fcntl(log_fd, F_SETLK, &whole);
  pthread_mutex_unlock(&order);
  errno = saved;
}

static void reset_order(void) { pthread_mutex_init(&order, NULL); }

static uint64_t ino_of(const char *path) {
  struct stat st;
  int saved = errno;
  uint64_t found = path && lstat(path, &st) == 0 ? st.st_ino : 0;
  errno = saved;
  return found;
}

/* How much of the watched file there was when this operation began: what the world outside had seen by then. */
static int64_t watched_size(void) {
  struct stat st;
  return *watched && stat(watched, &st) == 0 ? st.st_size : 0;
}

static void put(struct record *r, const char *path, const char *path2, const void *data, size_t len) {
  if (!recording()) return;
  int saved = errno;
  r->magic = 0x48594252;
  r->pid = getpid();
  r->path_len = (uint32_t)strlen(path);
  r->path2_len = path2 ? (uint32_t)strlen(path2) : 0;
  r->data_len = (uint32_t)len;
  struct iovec parts[4] = {{r, sizeof *r}, {(void *)path, r->path_len}, {(void *)path2, r->path2_len}, {(void *)data, len}};
  ssize_t wrote = REAL(writev, log_fd, parts, 4);
  if (wrote != (ssize_t)(sizeof *r + r->path_len + r->path2_len + len)) abort(); /* a log with holes would lie */
  errno = saved;
}

/* ---- switching on ---------------------------------------------------------------------------------------------- */

static int mode_of(const char *word) {
  static const char *words[] = {"off", "count", "kill", "once", "ever", "torn", "short"};
  for (int i = 0; word && i < 7; i++)
    if (!strcmp(word, words[i])) return i;
  return OFF;
}

static void copy_env(const char *name, char *into, size_t size) {
  const char *value = getenv(name);
  snprintf(into, size, "%s", value ? value : "");
}

static long number_env(const char *name, long otherwise) {
  const char *value = getenv(name);
  return value && *value ? strtol(value, NULL, 10) : otherwise;
}

static void open_log(void) {
  const char *path = getenv("FAULT_LOG");
  if (!path || !*path) return;
  int fd = REAL(open, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 500);
  if (log_fd < 0) log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 100);
  close(fd);
}

static void map_control(void) {
  const char *path = getenv("FAULT_CONTROL");
  int fd = path && *path ? REAL(open, path, O_RDWR | O_CLOEXEC, 0) : -1;
  if (fd < 0) return;
  void *page = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page != MAP_FAILED) control = page;
  close(fd);
}

static int by_real(const void *a, const void *b) {
  uint64_t left = ((const struct inode *)a)->real, right = ((const struct inode *)b)->real;
  return left < right ? -1 : left > right;
}

/* FAULT_INODES names a file of pairs: the number a file has, the number it shall seem to have. */
static void read_inodes(void) {
  const char *path = getenv("FAULT_INODES");
  int fd = path && *path ? REAL(open, path, O_RDONLY | O_CLOEXEC, 0) : -1;
  if (fd < 0) return;
  off_t size = lseek(fd, 0, SEEK_END);
  inodes = malloc(size > 0 ? (size_t)size : 1);
  ssize_t got = inodes ? pread(fd, inodes, (size_t)size, 0) : 0;
  inode_count = got > 0 ? (size_t)got / sizeof *inodes : 0;
  qsort(inodes, inode_count, sizeof *inodes, by_real);
  close(fd);
}

/* Read the environment and start. Called by a fork server's child, or by the constructor below. */
int fault_arm(void) {
  copy_env("FAULT_ROOT", root, sizeof root);
  copy_env("FAULT_WATCH", watched, sizeof watched);
  copy_env("FAULT_EXCLUDE", excluded, sizeof excluded);
  copy_env("FAULT_BOOT", other_boot, sizeof other_boot);
  root_len = strlen(root);
  strike_at = (uint64_t)number_env("FAULT_AT", 0);
  only = (unsigned long)number_env("FAULT_ONLY", 0);
  fault_errno = (int)number_env("FAULT_ERRNO", EIO);
  cut_permille = (int)number_env("FAULT_CUT", 500);
  with_children = number_env("FAULT_CHILDREN", 0) != 0;
  pid_t first = (pid_t)number_env("FAULT_OWNER", 0);
  int child = first && first != getpid();
  if (child && !with_children) return 0;
  open_log();
  read_inodes();
  owner = getpid();
  if (child) return 0; /* a step: recorded, never struck */
  char text[24];
  snprintf(text, sizeof text, "%d", (int)owner);
  setenv("FAULT_OWNER", text, 1);
  map_control();
  mode = mode_of(getenv("FAULT_MODE"));
  return mode;
}

void fault_disarm(void) { mode = OFF; log_fd = -1; owner = 0; }

__attribute__((constructor)) static void loaded(void) {
  pthread_atfork(NULL, NULL, reset_order);
  if (getenv("FAULT_MODE")) fault_arm();
}

/* ---- operations on a descriptor -------------------------------------------------------------------------------- */

static void look_at(struct record *r, int fd) {
  struct stat st;
  if (REAL(fstat, fd, &st) < 0) return;
  if (S_ISDIR(st.st_mode)) r->flags |= FOLDER;
  r->ino = st.st_ino;
  r->when = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec;
}

static int syncs_every_write(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_DSYNC);
}

/* One write of any kind: `offset` < 0 means at the file's position. Its bytes are given as one piece. */
static ssize_t do_write(int fd, const char *path, const void *data, size_t len, off64_t offset) {
  int fate = strike(WRITE, path, 0);
  if (fate > 0) return errno = fate, -1;
  if (fate < 0) len = len * (size_t)cut_permille / 1000;
  if (fate == -2 && len == 0) len = 1;
  begin();
  struct record r = {.op = WRITE, .watched = watched_size()};
  int appends = (fcntl(fd, F_GETFL) & O_APPEND) != 0;
  off64_t size = appends ? lseek64(fd, 0, SEEK_END) : 0;
  ssize_t wrote = offset < 0 ? REAL(write, fd, data, len) : REAL(pwrite64, fd, data, len, offset);
  if (wrote > 0 && recording()) {
    r.offset = appends ? size : offset < 0 ? lseek64(fd, 0, SEEK_CUR) - wrote : offset;
    r.ret = wrote;
    r.flags = syncs_every_write(fd) ? SYNCED : 0;
    look_at(&r, fd);
    put(&r, path, NULL, data, (size_t)wrote);
  }
  end();
  if (fate == -1) die();
  return wrote;
}

#define OURS(fd) char buffer_[PATH_MAX]; const char *ours = awake() ? fd_path((fd), buffer_) : NULL

ssize_t write(int fd, const void *data, size_t len) {
  OURS(fd);
  return ours ? do_write(fd, ours, data, len, -1) : REAL(write, fd, data, len);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset) {
  OURS(fd);
  return ours ? do_write(fd, ours, data, len, offset) : REAL(pwrite64, fd, data, len, offset);
}
ssize_t pwrite(int fd, const void *data, size_t len, off_t offset) { return pwrite64(fd, data, len, offset); }

static ssize_t do_writev(int fd, const char *path, const struct iovec *parts, int n, off64_t offset) {
  size_t total = 0, at = 0;
  for (int i = 0; i < n; i++) total += parts[i].iov_len;
  char *joined = malloc(total ? total : 1);
  if (!joined) return errno = ENOMEM, -1;
  for (int i = 0; i < n; at += parts[i++].iov_len) memcpy(joined + at, parts[i].iov_base, parts[i].iov_len);
  ssize_t wrote = do_write(fd, path, joined, total, offset);
  int saved = errno;
  free(joined);
  errno = saved;
  return wrote;
}

ssize_t writev(int fd, const struct iovec *parts, int n) {
  OURS(fd);
  return ours ? do_writev(fd, ours, parts, n, -1) : REAL(writev, fd, parts, n);
}

ssize_t pwritev64v2(int fd, const struct iovec *parts, int n, off64_t offset, int how) {
  OURS(fd);
  if (!ours || how & RWF_DSYNC) return REAL(pwritev64v2, fd, parts, n, offset, how);
  return do_writev(fd, ours, parts, n, offset);
}
ssize_t pwritev2(int fd, const struct iovec *p, int n, off_t at, int how) { return pwritev64v2(fd, p, n, at, how); }
ssize_t pwritev64(int fd, const struct iovec *p, int n, off64_t at) { return pwritev64v2(fd, p, n, at, 0); }
ssize_t pwritev(int fd, const struct iovec *p, int n, off_t at) { return pwritev64v2(fd, p, n, at, 0); }

static int do_sync(int op, int fd, const char *path) {
  STRIKE(op, path, 0);
  begin();
  struct record r = {.op = (uint16_t)op, .watched = watched_size()};
  int ret = op == FSYNC ? REAL(fsync, fd) : REAL(fdatasync, fd);
  look_at(&r, fd);
  if (ret == 0) put(&r, path, NULL, NULL, 0);
  end();
  return ret;
}

/* A sync that failed is recorded too: after it, what was not yet on the disk may be gone for good. */
static int failing_sync(int op, int fd, const char *path) {
  int ret = do_sync(op, fd, path), saved = errno;
  if (ret == 0) return 0;
  begin();
  struct record r = {.op = (uint16_t)op, .watched = watched_size(), .ret = -1, .err = saved};
  look_at(&r, fd);
  put(&r, path, NULL, NULL, 0);
  end();
  errno = saved;
  return ret;
}

int fsync(int fd) {
  OURS(fd);
  return ours ? failing_sync(FSYNC, fd, ours) : REAL(fsync, fd);
}

int fdatasync(int fd) {
  OURS(fd);
  return ours ? failing_sync(FDATASYNC, fd, ours) : REAL(fdatasync, fd);
}

int syncfs(int fd) {
  if (awake()) {
    STRIKE(SYNCALL, "", 0);
    begin();
    struct record r = {.op = SYNCALL, .watched = watched_size()};
    put(&r, "", NULL, NULL, 0);
    end();
  }
  return REAL(syncfs, fd);
}

static int do_truncate(int fd, const char *path, off64_t length) {
  STRIKE(TRUNCATE, path, 0);
  begin();
  struct record r = {.op = TRUNCATE, .watched = watched_size(), .offset = length};
  int ret = REAL(ftruncate64, fd, length);
  look_at(&r, fd);
  if (ret == 0) put(&r, path, NULL, NULL, 0);
  end();
  return ret;
}

int ftruncate64(int fd, off64_t length) {
  OURS(fd);
  return ours ? do_truncate(fd, ours, length) : REAL(ftruncate64, fd, length);
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int truncate64(const char *name, off64_t length) {
  char full[PATH_MAX];
  if (!awake() || !name_path(AT_FDCWD, name, full)) return REAL(truncate64, name, length);
  int fd = REAL(open, name, O_WRONLY | O_CLOEXEC, 0);
  if (fd < 0) return -1;
  int ret = ftruncate64(fd, length), saved = errno;
  close(fd);
  errno = saved;
  return ret;
}
int truncate(const char *name, off_t length) { return truncate64(name, length); }

static int do_allocate(int fd, const char *path, int how, off64_t offset, off64_t len) {
  STRIKE(ALLOCATE, path, 0);
  begin();
  struct record r = {.op = ALLOCATE, .watched = watched_size(), .offset = offset + len};
  int ret = REAL(fallocate64, fd, how, offset, len);
  look_at(&r, fd);
  if (ret == 0 && how == 0) put(&r, path, NULL, NULL, 0);
  end();
  return ret;
}

int fallocate64(int fd, int how, off64_t offset, off64_t len) {
  OURS(fd);
  return ours ? do_allocate(fd, ours, how, offset, len) : REAL(fallocate64, fd, how, offset, len);
}
int fallocate(int fd, int how, off_t offset, off_t len) { return fallocate64(fd, how, offset, len); }
int posix_fallocate64(int fd, off64_t offset, off64_t len) { return fallocate64(fd, 0, offset, len) ? errno : 0; }
int posix_fallocate(int fd, off_t offset, off_t len) { return posix_fallocate64(fd, offset, len); }

/* Copies inside the kernel would pass by the log; both calls may refuse, and every caller knows how to go on without. */
ssize_t sendfile64(int out, int in, off64_t *offset, size_t len) {
  OURS(out);
  return ours ? (errno = ENOSYS, -1) : REAL(sendfile64, out, in, offset, len);
}
ssize_t sendfile(int out, int in, off_t *offset, size_t len) { return sendfile64(out, in, (off64_t *)offset, len); }

ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t len, unsigned flags) {
  OURS(out);
  return ours ? (errno = EXDEV, -1) : REAL(copy_file_range, in, in_at, out, out_at, len, flags);
}

/* ---- operations on names --------------------------------------------------------------------------------------- */

static int do_open(int dirfd, const char *name, int flags, mode_t rights, const char *path, const char *full) {
  int reads = !(flags & (O_CREAT | O_TRUNC)) && (flags & O_TMPFILE) != O_TMPFILE;
  STRIKE(OPEN, path, reads);
  begin();
  struct record r = {.op = OPEN, .watched = watched_size()};
  int existed = ino_of(full) != 0;
  int fd = REAL(openat64, dirfd, name, flags, rights);
  if (fd >= 0 && !reads) {
    look_at(&r, fd);
    r.flags = (uint16_t)(existed ? 0 : CREATED) | (flags & O_TRUNC ? TRUNCATED : 0);
    if ((flags & O_TMPFILE) == O_TMPFILE) r.flags = CREATED | NAMELESS;
    put(&r, path, NULL, NULL, 0);
  }
  end();
  return fd;
}

#define RIGHTS(flags)                                                          \
  mode_t rights = 0;                                                           \
  if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) {               \
    va_list rest_;                                                             \
    va_start(rest_, flags);                                                    \
    rights = va_arg(rest_, mode_t);                                            \
    va_end(rest_);                                                             \
  }
#define NAMED(dirfd, name) char full_[PATH_MAX]; const char *ours = awake() ? name_path((dirfd), (name), full_) : NULL

/* After a power cut it is another boot: FAULT_BOOT names a file that is read in the place of the kernel's boot id. */
static int any_open(int dirfd, const char *name, int flags, mode_t rights) {
  if (*other_boot && !strcmp(name, "/proc/sys/kernel/random/boot_id")) name = other_boot;
  NAMED(dirfd, name);
  return ours ? do_open(dirfd, name, flags, rights, ours, full_) : REAL(openat64, dirfd, name, flags, rights);
}

int open64(const char *name, int flags, ...) { RIGHTS(flags); return any_open(AT_FDCWD, name, flags, rights); }
int open(const char *name, int flags, ...) { RIGHTS(flags); return any_open(AT_FDCWD, name, flags, rights); }
int openat64(int dirfd, const char *name, int flags, ...) { RIGHTS(flags); return any_open(dirfd, name, flags, rights); }
int openat(int dirfd, const char *name, int flags, ...) { RIGHTS(flags); return any_open(dirfd, name, flags, rights); }
int creat64(const char *name, mode_t rights) { return any_open(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, rights); }
int creat(const char *name, mode_t rights) { return creat64(name, rights); }

static int do_rename(int from_fd, const char *from, int to_fd, const char *to, unsigned how) {
  char full_from[PATH_MAX], full_to[PATH_MAX];
  const char *ours_from = awake() ? name_path(from_fd, from, full_from) : NULL;
  const char *ours_to = awake() ? name_path(to_fd, to, full_to) : NULL;
  if (!ours_from && !ours_to) return REAL(renameat2, from_fd, from, to_fd, to, how);
  STRIKE(RENAME, ours_to ? ours_to : ours_from, 0);
  begin();
  struct record r = {.op = RENAME, .watched = watched_size(), .ino = ino_of(full_from), .ino2 = ino_of(full_to)};
  if (how & RENAME_EXCHANGE) r.flags |= EXCHANGED;
  int ret = REAL(renameat2, from_fd, from, to_fd, to, how);
  if (ret == 0 && ours_from && ours_to) put(&r, ours_from, ours_to, NULL, 0);
  end();
  return ret;
}

int rename(const char *from, const char *to) { return do_rename(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int f, const char *from, int t, const char *to) { return do_rename(f, from, t, to, 0); }
int renameat2(int f, const char *from, int t, const char *to, unsigned how) { return do_rename(f, from, t, to, how); }

int linkat(int from_fd, const char *from, int to_fd, const char *to, int how) {
  NAMED(to_fd, to);
  if (!ours) return REAL(linkat, from_fd, from, to_fd, to, how);
  STRIKE(LINK, ours, 0);
  begin();
  struct record r = {.op = LINK, .watched = watched_size()};
  int ret = REAL(linkat, from_fd, from, to_fd, to, how);
  r.ino = ino_of(full_);
  if (ret == 0) put(&r, ours, NULL, NULL, 0);
  end();
  return ret;
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int dirfd, const char *name, int how) {
  NAMED(dirfd, name);
  if (!ours) return REAL(unlinkat, dirfd, name, how);
  int op = how & AT_REMOVEDIR ? RMDIR : UNLINK;
  STRIKE(op, ours, 0);
  begin();
  struct record r = {.op = (uint16_t)op, .watched = watched_size(), .ino = ino_of(full_)};
  int ret = REAL(unlinkat, dirfd, name, how);
  if (ret == 0) put(&r, ours, NULL, NULL, 0);
  end();
  return ret;
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int dirfd, const char *name, mode_t rights) {
  NAMED(dirfd, name);
  if (!ours) return REAL(mkdirat, dirfd, name, rights);
  STRIKE(MKDIR, ours, 0);
  begin();
  struct record r = {.op = MKDIR, .watched = watched_size(), .flags = FOLDER};
  int ret = REAL(mkdirat, dirfd, name, rights);
  r.ino = ino_of(full_);
  if (ret == 0) put(&r, ours, NULL, NULL, 0);
  end();
  return ret;
}
int mkdir(const char *name, mode_t rights) { return mkdirat(AT_FDCWD, name, rights); }

/* ---- looking --------------------------------------------------------------------------------------------------- */

static int told(int ret, uint64_t *ino) {
  if (ret == 0 && inode_count) {
    struct inode key = {*ino, 0}, *found = bsearch(&key, inodes, inode_count, sizeof key, by_real);
    if (found) *ino = found->told;
  }
  return ret;
}

int stat64(const char *name, struct stat64 *st) { return told(REAL(stat64, name, st), &st->st_ino); }
int lstat64(const char *name, struct stat64 *st) { return told(REAL(lstat64, name, st), &st->st_ino); }
int fstat64(int fd, struct stat64 *st) { return told(REAL(fstat64, fd, st), &st->st_ino); }
int fstatat64(int dirfd, const char *name, struct stat64 *st, int how) {
  return told(REAL(fstatat64, dirfd, name, st, how), &st->st_ino);
}
int stat(const char *name, struct stat *st) { return stat64(name, (struct stat64 *)st); }
int lstat(const char *name, struct stat *st) { return lstat64(name, (struct stat64 *)st); }
int fstat(int fd, struct stat *st) { return fstat64(fd, (struct stat64 *)st); }
int fstatat(int dirfd, const char *name, struct stat *st, int how) {
  return fstatat64(dirfd, name, (struct stat64 *)st, how);
}
