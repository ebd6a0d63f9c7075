/* A library for LD_PRELOAD that stands between one process and the file operations it makes below one folder.
 *
 * It counts them, over all threads, and at the N-th kills the process, fails the call, writes a part and kills, or loses
 * what a write gave to the kernel; it can record every operation with its data, in one total order, for the power-loss
 * model; and it can count syncs, inodes and bytes by class of path (count.c). What it does is told by environment
 * variables (see faultlib.py and counters.py, the other ends of this file), read when the library is loaded into the
 * first process of a tree or when that process calls fault_arm(). Child processes never count; with FAULT_CHILDREN they
 * are recorded. On a disk that was built from a recording it can give files the inode numbers they had there, and make
 * believe that the machine was started again. Not seen: calls that libc makes from inside itself (stdio), raw system
 * calls, io_uring, and writes into mapped files before their msync.
 *
 * This file is the whole library: it includes the others, so that everything but the calls themselves stays static.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum operation {
  OPEN = 1, WRITE, FSYNC, FDATASYNC, RENAME, LINK, UNLINK, MKDIR, RMDIR, TRUNCATE, ALLOCATE, SYNCFS, SYNCRANGE, MSYNC,
  SYMLINK, MKNOD, LOST
};
enum mode { OFF, COUNT, KILL, ONCE, EVER, TORN, SHORT, LOSE };
enum flag {
  CREATED = 1, TRUNCATED = 2, FOLDER = 4, SYNCED = 8, NAMELESS = 16, EXCHANGED = 32, BEGUN = 64, ZEROED = 128
};

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
static dev_t root_device;
static long delay_ms;
static struct inode *inodes;
static size_t inode_count;
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name, ...)                                              \
  ({                                                                 \
    static __typeof__(&name) real_;                                  \
    if (!real_) real_ = (__typeof__(&name))dlsym(RTLD_NEXT, #name);  \
    real_(__VA_ARGS__);                                              \
  })

#include "paths.c"
#include "record.c"
#include "count.c"
#include "strike.c"
#include "orders.c"
#include "syncs.c"
#include "descriptors.c"
#include "names.c"
#include "looking.c"
