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
             op == ALLOCATE || op == SYNCFS || op == MSYNC || op == SYMLINK || op == MKNOD;
    case EROFS: return op != FSYNC && op != FDATASYNC && op != SYNCFS && op != SYNCRANGE && op != MSYNC;
    case EINTR: return op != SYNCFS && op != SYNCRANGE && op != MSYNC && op != TRUNCATE;
    case EXDEV: return op == RENAME || op == LINK;
    default: return 1;
  }
}

/* Not between another thread's operation and its record: the model would miss what the disk has. */
static _Noreturn void die(void) {
  __atomic_store_n(&dead, 1, __ATOMIC_SEQ_CST);
  begin();
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

static void note_strike(int op, const char *path) {
  if (__atomic_add_fetch(&control->fired, 1, __ATOMIC_SEQ_CST) != 1) return;
  control->op = (uint32_t)op;
  strncpy(control->path, path, sizeof control->path - 1);
}

/* Count one operation. 0: go on; > 0: fail with this errno; -1: write a part, then die; -2: write a part, say so;
 * -3: write, and lose it. */
static int strike(int op, const char *path, int reads) {
  if (!striking()) return 0;
  while (__atomic_load_n(&dead, __ATOMIC_SEQ_CST)) pause(); /* another thread's fault has ended the process */
  int fails = mode == ONCE || mode == EVER, parts = mode == TORN || mode == SHORT || mode == LOSE;
  if (fails ? !can_fail_with(op, fault_errno, reads) : reads) return 0;
  if ((parts && op != WRITE) || (only && !(only >> op & 1))) return 0;
  uint64_t now = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
  if (mode == COUNT || control->lifted || (mode == EVER ? now < strike_at : now != strike_at)) return 0;
  note_strike(op, path);
  if (mode == KILL) die();
  if (mode == TORN) __atomic_store_n(&dead, 1, __ATOMIC_SEQ_CST);
  return mode == TORN ? -1 : mode == SHORT ? -2 : mode == LOSE ? -3 : fault_errno;
}

#define STRIKE(op, path, reads)                            \
  do {                                                     \
    int error_ = (path) ? strike((op), (path), (reads)) : 0; \
    if (error_ > 0) {                                      \
      errno = error_;                                      \
      return -1;                                           \
    }                                                      \
  } while (0)

/* ---- what the kernel could not write back ----------------------------------------------------------------------------
 *
 * Some time after a write the kernel fails to bring it to the disk and gives it up. It tells each descriptor once, at its
 * next sync: of that file by fsync, of the file system by syncfs; but only descriptors that were open by then. Here it is
 * lost at once, and somebody else's sync has been told already, so that a descriptor opened later hears nothing.
 */

enum { KNOWN_FDS = 4096 };
static uint64_t births, lost_birth, lost_ino, birth[KNOWN_FDS];
static unsigned char told_lost[KNOWN_FDS];

static void note_birth(int fd) {
  if (fd < 0 || fd >= KNOWN_FDS) return;
  birth[fd] = __atomic_add_fetch(&births, 1, __ATOMIC_SEQ_CST);
  told_lost[fd] = 0;
}

static void lose(struct record r, const char *path) {
  lost_birth = __atomic_load_n(&births, __ATOMIC_SEQ_CST);
  lost_ino = r.ino;
  r.op = LOST;
  put(&r, path, NULL, NULL, 0);
}

/* Does a sync through this descriptor have to tell of the loss? `ino` is 0 for the whole file system. */
static int tells_loss(int fd, uint64_t ino) {
  if (!lost_ino || !is_owner() || (ino && ino != lost_ino) || fd < 0 || fd >= KNOWN_FDS) return 0;
  if (birth[fd] > lost_birth || told_lost[fd]) return 0;
  return told_lost[fd] = 1;
}
