/* ---- operations on a descriptor -------------------------------------------------------------------------------- */

static int syncs_every_write(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_DSYNC);
}

/* One write of any kind: `offset` < 0 means at the file's position. Its bytes are given as one piece. */
static ssize_t do_write(int fd, const char *path, const void *data, size_t len, off64_t offset, int synced) {
  int fate = strike(WRITE, path, 0);
  if (fate > 0) return errno = fate, -1;
  if (fate == -1 || fate == -2) len = len * (size_t)cut_permille / 1000;
  if (fate == -2 && len == 0) len = 1;
  struct timespec begun = clock_now();
  begin();
  struct record r = {.op = WRITE, .watched = watched_size()};
  int appends = (fcntl(fd, F_GETFL) & O_APPEND) != 0;
  off64_t size = appends ? lseek64(fd, 0, SEEK_END) : 0;
  ssize_t wrote = offset < 0 ? REAL(write, fd, data, len) : REAL(pwrite64, fd, data, len, offset);
  synced = synced || syncs_every_write(fd);
  if (wrote > 0 && (recording() || fate == -3)) {
    r.offset = appends ? size : offset < 0 ? lseek64(fd, 0, SEEK_CUR) - wrote : offset;
    r.ret = wrote;
    r.flags = synced ? SYNCED : 0;
    look_at(&r, fd);
    put(&r, path, NULL, data, (size_t)wrote);
    if (fate == -3) lose(r, path);
  }
  end();
  if (fate == -1) die();
  add(path, WRITES, 1);
  add(path, BYTES, wrote > 0 ? (uint64_t)wrote : 0);
  add(path, FDATASYNCS, (uint64_t)synced);
  if (synced) delay_since(begun);
  return wrote;
}

ssize_t write(int fd, const void *data, size_t len) {
  OURS(fd);
  return ours ? do_write(fd, ours, data, len, -1, 0) : REAL(write, fd, data, len);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset) {
  OURS(fd);
  return ours ? do_write(fd, ours, data, len, offset, 0) : REAL(pwrite64, fd, data, len, offset);
}
ssize_t pwrite(int fd, const void *data, size_t len, off_t offset) { return pwrite64(fd, data, len, offset); }

static ssize_t do_writev(int fd, const char *path, const struct iovec *parts, int n, off64_t offset, int synced) {
  size_t total = 0, at = 0;
  for (int i = 0; i < n; i++) total += parts[i].iov_len;
  char *joined = malloc(total ? total : 1);
  if (!joined) return errno = ENOMEM, -1;
  for (int i = 0; i < n; at += parts[i++].iov_len) memcpy(joined + at, parts[i].iov_base, parts[i].iov_len);
  ssize_t wrote = do_write(fd, path, joined, total, offset, synced);
  int saved = errno;
  free(joined);
  errno = saved;
  return wrote;
}

ssize_t writev(int fd, const struct iovec *parts, int n) {
  OURS(fd);
  return ours ? do_writev(fd, ours, parts, n, -1, 0) : REAL(writev, fd, parts, n);
}

ssize_t pwritev64v2(int fd, const struct iovec *parts, int n, off64_t offset, int how) {
  OURS(fd);
  if (!ours) return REAL(pwritev64v2, fd, parts, n, offset, how);
  int synced = how & (RWF_DSYNC | RWF_SYNC);
  ssize_t wrote = do_writev(fd, ours, parts, n, offset, synced != 0);
  if (wrote > 0 && synced && REAL(fdatasync, fd) < 0) return -1;
  return wrote;
}
ssize_t pwritev2(int fd, const struct iovec *p, int n, off_t at, int how) { return pwritev64v2(fd, p, n, at, how); }
ssize_t pwritev64(int fd, const struct iovec *p, int n, off64_t at) { return pwritev64v2(fd, p, n, at, 0); }
ssize_t pwritev(int fd, const struct iovec *p, int n, off_t at) { return pwritev64v2(fd, p, n, at, 0); }

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
  if (how & (FALLOC_FL_ZERO_RANGE | FALLOC_FL_PUNCH_HOLE)) {
    r.flags |= ZEROED;
    r.offset = offset;
    r.ino2 = (uint64_t)len;
  }
  if (ret == 0 && (r.flags & ZEROED || !(how & FALLOC_FL_KEEP_SIZE))) put(&r, path, NULL, NULL, 0);
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

