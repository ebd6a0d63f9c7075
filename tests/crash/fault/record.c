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

static void look_at(struct record *r, int fd) {
  struct stat st;
  if (REAL(fstat, fd, &st) < 0) return;
  if (S_ISDIR(st.st_mode)) r->flags |= FOLDER;
  r->ino = st.st_ino;
  r->when = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec;
}

#define OURS(fd) char buffer_[PATH_MAX]; const char *ours = awake() ? fd_path((fd), buffer_) : NULL
