/* ---- switching on ---------------------------------------------------------------------------------------------- */

static int mode_of(const char *word) {
  static const char *words[] = {"off", "count", "kill", "once", "ever", "torn", "short", "lose"};
  for (int i = 0; word && i < 8; i++)
    if (!strcmp(word, words[i])) return i;
  return OFF;
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

/* The file that a variable names, shared with those who read it while this process runs and after it. */
static void *map_shared(const char *name, size_t size) {
  const char *path = getenv(name);
  int fd = path && *path ? REAL(open, path, O_RDWR | O_CLOEXEC, 0) : -1;
  if (fd < 0) return NULL;
  void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return page == MAP_FAILED ? NULL : page;
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
  struct stat st;
  root_device = stat(root, &st) == 0 ? st.st_dev : 0;
  struct control *page = map_shared("FAULT_CONTROL", sizeof *control);
  control = page ? page : &nowhere;
  delay_ms = number_env("FAULT_DELAY", 0);
  read_classes();
  counted = map_shared("FAULT_COUNTS", sizeof *counted);
  mode = mode_of(getenv("FAULT_MODE"));
  return mode;
}

void fault_disarm(void) { mode = OFF; log_fd = -1; owner = 0; counted = NULL; }

__attribute__((constructor)) static void loaded(void) {
  pthread_atfork(NULL, NULL, reset_order);
  if (getenv("FAULT_MODE")) fault_arm();
}

