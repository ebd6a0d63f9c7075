/* ---- making durable ---------------------------------------------------------------------------------------------- */

/* A sync that failed is recorded too: after it, what was not yet on the disk may be gone for good. */
static int do_sync(int op, int fd, const char *path) {
  struct timespec begun = clock_now();
  int error = strike(op, path, 0);
  add(path, op == FSYNC ? FSYNCS : FDATASYNCS, 1);
  begin();
  struct record r = {.op = (uint16_t)op, .watched = watched_size()};
  look_at(&r, fd);
  if (!error && tells_loss(fd, r.ino)) error = EIO;
  int ret = error ? -1 : op == FSYNC ? REAL(fsync, fd) : REAL(fdatasync, fd);
  r.ret = ret;
  r.err = ret < 0 ? (error ? error : errno) : 0;
  put(&r, path, NULL, NULL, 0);
  end();
  delay_since(begun);
  if (ret < 0) errno = r.err;
  return ret;
}

int fsync(int fd) {
  OURS(fd);
  return ours ? do_sync(FSYNC, fd, ours) : REAL(fsync, fd);
}

int fdatasync(int fd) {
  OURS(fd);
  return ours ? do_sync(FDATASYNC, fd, ours) : REAL(fdatasync, fd);
}

/* The sync of a file system takes its time, and others go on meanwhile: one record when it begins, one when it ends, with
 * the same number. What was written before the first is durable after the second. */
static int64_t note_syncfs_begin(const char *path) {
  static int64_t numbers;
  int64_t number = __atomic_add_fetch(&numbers, 1, __ATOMIC_SEQ_CST);
  begin();
  struct record r = {.op = SYNCFS, .flags = BEGUN, .watched = watched_size(), .offset = number};
  put(&r, path, NULL, NULL, 0);
  end();
  return number;
}

static void note_syncfs_end(const char *path, int64_t number, int error) {
  begin();
  struct record r = {.op = SYNCFS, .watched = watched_size(), .offset = number, .ret = error ? -1 : 0, .err = error};
  put(&r, path, NULL, NULL, 0);
  end();
}

static int do_syncfs(int fd, const char *path) {
  struct timespec begun = clock_now();
  int error = strike(SYNCFS, path, 0);
  add(path, SYNCFSES, 1);
  int64_t number = note_syncfs_begin(path);
  if (!error && tells_loss(fd, 0)) error = EIO;
  if (!error && REAL(syncfs, fd) < 0) error = errno;
  delay_since(begun);
  note_syncfs_end(path, number, error);
  return error ? (errno = error, -1) : 0;
}

/* Any descriptor on the file system of the root will do; its path is told where it lies below the root. */
int syncfs(int fd) {
  struct stat st;
  if (!awake() || REAL(fstat, fd, &st) < 0 || st.st_dev != root_device) return REAL(syncfs, fd);
  OURS(fd);
  return do_syncfs(fd, ours ? ours : "");
}

void sync(void) {
  if (awake()) {
    struct timespec begun = clock_now();
    strike(SYNCFS, "", 0);
    add("", SYNCFSES, 1);
    int64_t number = note_syncfs_begin("");
    REAL(sync);
    delay_since(begun);
    note_syncfs_end("", number, 0);
  } else {
    REAL(sync);
  }
}

/* It starts the writing of pages and promises nothing: neither sizes nor the disk's own cache are synced. */
int sync_file_range(int fd, off64_t offset, off64_t len, unsigned how) {
  OURS(fd);
  if (!ours) return REAL(sync_file_range, fd, offset, len, how);
  STRIKE(SYNCRANGE, ours, 0);
  add(ours, RANGES, 1);
  begin();
  struct record r = {.op = SYNCRANGE, .watched = watched_size(), .offset = offset};
  int ret = REAL(sync_file_range, fd, offset, len, how);
  look_at(&r, fd);
  if (ret == 0) put(&r, ours, NULL, NULL, 0);
  end();
  return ret;
}

/* The file below the root that is mapped at an address, and where in the file that is. */
static const char *mapped_path(const void *address, char *buffer, int64_t *offset) {
  FILE *maps = fopen("/proc/self/maps", "re");
  char line[PATH_MAX + 100];
  const char *found = NULL;
  while (maps && !found && fgets(line, sizeof line, maps)) {
    unsigned long from, to, start;
    int at = 0;
    line[strcspn(line, "\n")] = 0;
    if (sscanf(line, "%lx-%lx %*s %lx %*s %*s %n", &from, &to, &start, &at) != 3 || !at) continue;
    if ((unsigned long)address < from || (unsigned long)address >= to) continue;
    snprintf(buffer, PATH_MAX, "%s", line + at);
    *offset = (int64_t)(start + ((unsigned long)address - from));
    found = below_root(buffer);
    break;
  }
  if (maps) fclose(maps);
  return found;
}

/* What was written into a mapped file is seen here for the first time: the record holds it, as a write and its sync. */
int msync(void *address, size_t len, int how) {
  char buffer[PATH_MAX];
  int64_t offset = 0;
  const char *ours = awake() ? mapped_path(address, buffer, &offset) : NULL;
  if (!ours) return REAL(msync, address, len, how);
  struct timespec begun = clock_now();
  STRIKE(MSYNC, ours, 0);
  add(ours, MSYNCS, 1);
  begin();
  struct stat st = {0};
  struct record r = {.op = MSYNC, .flags = how & MS_SYNC ? SYNCED : 0, .watched = watched_size(), .offset = offset};
  int ret = REAL(msync, address, len, how);
  if (ret == 0 && stat(buffer, &st) == 0) {
    r.ino = st.st_ino;
    r.when = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec;
    size_t there = st.st_size > offset ? (size_t)(st.st_size - offset) : 0;
    put(&r, ours, NULL, address, len < there ? len : there);
  }
  end();
  if (how & MS_SYNC) delay_since(begun);
  return ret;
}
