/* ---- operations on names --------------------------------------------------------------------------------------- */

static int do_open(int dirfd, const char *name, int flags, mode_t rights, const char *path, const char *full) {
  int reads = !(flags & (O_CREAT | O_TRUNC)) && (flags & O_TMPFILE) != O_TMPFILE;
  STRIKE(OPEN, path, reads);
  begin();
  struct record r = {.op = OPEN, .watched = watched_size()};
  int existed = reads || is_there(full);
  int fd = REAL(openat64, dirfd, name, flags, rights);
  note_birth(fd);
  if (fd >= 0 && !reads) {
    look_at(&r, fd);
    r.flags = (uint16_t)(existed ? 0 : CREATED) | (flags & O_TRUNC ? TRUNCATED : 0);
    if ((flags & O_TMPFILE) == O_TMPFILE) r.flags = CREATED | NAMELESS;
    put(&r, path, NULL, NULL, 0);
    if (r.flags & CREATED) add(path, INODES_MADE, 1);
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
  int frees = ours_to && !(how & RENAME_EXCHANGE) && r.ino != r.ino2 && is_last_name(full_to);
  int ret = REAL(renameat2, from_fd, from, to_fd, to, how);
  if (ret == 0 && ours_from && ours_to) put(&r, ours_from, ours_to, NULL, 0);
  if (ret == 0 && frees) add(ours_to, INODES_FREED, 1);
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
  int frees = is_last_name(full_);
  int ret = REAL(unlinkat, dirfd, name, how);
  if (ret == 0) put(&r, ours, NULL, NULL, 0);
  if (ret == 0 && frees) add(ours, INODES_FREED, 1);
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
  if (ret == 0) add(ours, INODES_MADE, 1);
  end();
  return ret;
}
int mkdir(const char *name, mode_t rights) { return mkdirat(AT_FDCWD, name, rights); }

/* Links by name, pipes and devices are counted and fail on demand; the power-loss model knows none. */
int symlinkat(const char *target, int dirfd, const char *name) {
  NAMED(dirfd, name);
  if (!ours) return REAL(symlinkat, target, dirfd, name);
  STRIKE(SYMLINK, ours, 0);
  int ret = REAL(symlinkat, target, dirfd, name);
  if (ret == 0) add(ours, INODES_MADE, 1);
  return ret;
}
int symlink(const char *target, const char *name) { return symlinkat(target, AT_FDCWD, name); }

int mknodat(int dirfd, const char *name, mode_t rights, dev_t device) {
  NAMED(dirfd, name);
  if (!ours) return REAL(mknodat, dirfd, name, rights, device);
  STRIKE(MKNOD, ours, 0);
  int ret = REAL(mknodat, dirfd, name, rights, device);
  if (ret == 0) add(ours, INODES_MADE, 1);
  return ret;
}
int mknod(const char *name, mode_t rights, dev_t device) { return mknodat(AT_FDCWD, name, rights, device); }
int mkfifoat(int dirfd, const char *name, mode_t rights) { return mknodat(dirfd, name, rights | S_IFIFO, 0); }
int mkfifo(const char *name, mode_t rights) { return mkfifoat(AT_FDCWD, name, rights); }
